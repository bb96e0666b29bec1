"""The environment that we and the tools that we start share; set before heavy imports."""

import gc
import os
from collections.abc import MutableMapping

from ofa_pipeline.proxies import reach_local_directly
from ofa_pipeline.telemetry import keep_quiet, refuse_pickles
from ofa_pipeline.user import settle_user
from ofa_pipeline.workspace import checkout_folder


def settle_environment(environment: MutableMapping[str, str]) -> None:
    """Make an environment in which the tools work, whoever runs them and wherever.

    Nothing calls home or chats, unless the user has decided so; MLflow loads no pickle; the user
    has a name and a home;
    services on this machine are reached without a proxy.

    Raises:
        OfaPipelineError: If there is no folder that can stand in for a home.
    """
    keep_quiet(environment)
    refuse_pickles(environment)
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


def settle_for_a_look(environment: MutableMapping[str, str]) -> None:
    """Settle what a command needs that only looks at something, computes nothing, and ends.

    Numpy starts no thread for each core, and Python looks for no garbage among what is imported:
    a fourth of the time of such a command, on two cores. Programs that it would start would
    inherit the first; it starts none.
    """
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
