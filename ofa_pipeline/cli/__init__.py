"""The command line, `ofa-pipeline`: one module a group of commands.

Everything heavy (torch, MLflow, Prefect) is imported inside the commands, so that help and
errors in what was typed come at once.
"""

from ofa_pipeline.cli.main import app, main

__all__ = ["app", "main"]

OPEN_MODULES = (
    "chosen",
    "display",
    "environment",
    "hints",
    "listing",
    "notices",
    "output",
    "planned",
    "profiled",
    "programs",
    "recertify",
    "subnets",
)
"""What the flows print with, and what they settle first, as the commands do."""
