"""Nothing that runs here calls home, chats or unpickles: the one list of switches, as variables."""

from collections.abc import Mapping, MutableMapping

MLFLOW_SWITCHES: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow and DVC ask for git; in an unpacked archive on a machine without it they must not fail.
    "GIT_PYTHON_REFRESH": "quiet",
}

SWITCHES: Mapping[str, str] = {
    **MLFLOW_SWITCHES,
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}


PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
"""MLflow's, which allows it unless it is told otherwise."""


def refuse_pickles(environment: MutableMapping[str, str]) -> None:
    """Have MLflow refuse pickled models, whatever was set: a pickle runs code of who wrote it.

    For processes of ours; a program of the user's that imports this package decides by itself.
    """
    environment[PICKLE_SWITCH] = "false"


def keep_quiet(
    environment: MutableMapping[str, str], switches: Mapping[str, str] = SWITCHES
) -> None:
    """Set switches where the user has not decided."""
    for name, value in switches.items():
        environment.setdefault(name, value)
