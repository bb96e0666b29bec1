"""Settings of Prefect for a workspace; set before Prefect is imported."""

import os
from collections.abc import MutableMapping
from pathlib import Path

from ofa_pipeline.cli.environment import keep_quiet


def set_up_prefect(root: Path, environment: MutableMapping[str, str]) -> None:
    """Set what the user has not set.

    Runs are recorded in the workspace, unless a Prefect server is configured: by
    ``PREFECT_API_URL``, or by a profile in the user's Prefect home.
    """
    keep_quiet(environment)
    profiles = Path(environment.get("PREFECT_HOME", "~/.prefect")).expanduser() / "profiles.toml"
    if not profiles.exists():
        environment.setdefault("PREFECT_HOME", str(root / ".prefect"))
    for name, value in {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
        # People read the display; the log goes to Prefect's records.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        # A run that stops to report this often was killed.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }.items():
        environment.setdefault(name, value)


def is_debugging(arguments: list[str]) -> bool:
    """Return whether tracebacks are wanted."""
    return "--debug" in arguments or bool(os.environ.get("OFA_DEBUG"))
