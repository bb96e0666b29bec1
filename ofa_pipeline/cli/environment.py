"""The environment that we and the tools that we start share; set before heavy imports."""

import os
from collections.abc import MutableMapping

from ofa_pipeline.proxies import reach_local_directly
from ofa_pipeline.user import settle_user
from ofa_pipeline.workspace import checkout_folder

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


def settle_environment(environment: MutableMapping[str, str]) -> None:
    """Make an environment in which the tools work, whoever runs them and wherever.

    Nothing calls home or chats, unless the user has decided so; the user has a name and a home;
    services on this machine are reached without a proxy.

    Raises:
        OfaPipelineError: If there is no folder that can stand in for a home.
    """
    keep_quiet(environment)
    settle_user(environment)
    reach_local_directly(environment)


def start_our_own_code(environment: MutableMapping[str, str]) -> None:
    """Have the programs that we start import our packages, whatever else is called like them.

    Packages of the user's on ``PYTHONPATH``, beside our installation or in the current folder may
    be called ``flows`` or ``tests``, too.
    """
    root = str(checkout_folder())
    before = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if before or "site-packages" not in root:  # there our packages are found without
        others = [entry for entry in before if entry != root]
        environment["PYTHONPATH"] = os.pathsep.join([root, *others])
    environment["PYTHONSAFEPATH"] = "1"


def keep_quiet(environment: MutableMapping[str, str]) -> None:
    """Switch telemetry off wherever the user has not decided."""
    for name, value in _SWITCHES.items():
        environment.setdefault(name, value)
