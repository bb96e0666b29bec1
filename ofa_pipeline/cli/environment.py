"""Switches of the tools that we start: nothing calls home, nothing chats."""

from collections.abc import MutableMapping

_SWITCHES = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    # MLflow and DVC ask for git; in an unpacked archive on a machine without it they must not fail.
    "GIT_PYTHON_REFRESH": "quiet",
}


def keep_quiet(environment: MutableMapping[str, str]) -> None:
    """Switch telemetry off wherever the user has not decided; call it before heavy imports."""
    for name, value in _SWITCHES.items():
        environment.setdefault(name, value)
