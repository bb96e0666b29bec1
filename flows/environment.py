"""Settings of Prefect for a workspace; set before Prefect is imported."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path

from ofa_pipeline.cli.environment import keep_quiet

API_VARIABLE = "PREFECT_API_URL"


def set_up_prefect(root: Path, environment: MutableMapping[str, str]) -> None:
    """Set what the user has not set.

    Runs are recorded in the workspace, unless a Prefect server is configured: by
    ``PREFECT_API_URL``, or by a profile in the user's Prefect home.
    """
    keep_quiet(environment)
    if not _profiles(environment).exists():
        environment.setdefault("PREFECT_HOME", str(root / ".prefect"))
    for name, value in {
        "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
        # People read the display; the log goes to Prefect's records.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        # A run that stops to report this often was killed.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }.items():
        environment.setdefault(name, value)


def is_server_configured(environment: Mapping[str, str]) -> bool:
    """Return whether the user has a Prefect server: in the environment, or in a profile."""
    if environment.get(API_VARIABLE):
        return True
    path = _profiles(environment)
    return path.exists() and API_VARIABLE in path.read_text()


def _profiles(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("PREFECT_HOME", "~/.prefect")).expanduser() / "profiles.toml"
