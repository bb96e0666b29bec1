"""The command line, `ofa-pipeline`: one module a group of commands.

Everything heavy (torch, MLflow, Prefect) is imported inside the commands, so that help and
errors in what was typed come at once.
"""

from ofa_pipeline.cli.main import app, main

__all__ = ["app", "main"]
