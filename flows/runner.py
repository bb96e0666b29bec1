"""Runs what is served, until Ctrl-C or SIGTERM."""

import asyncio
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

from prefect.runner import Runner

from ofa_pipeline.exit_codes import EXIT_TERMINATED

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


class TerminableRunner(Runner):
    """Prefect's runner, which SIGTERM ends as quietly as Ctrl-C."""

    def handle_sigterm(self, *_: object) -> NoReturn:
        """End; what is left to do is done while the event loop is closed.

        Prefect 3.8 calls a coroutine here and does not await it, of which Python warns.
        """
        sys.exit(EXIT_TERMINATED)


def run_until_told(
    deployments: Iterable["RunnerDeployment"], *, registered: Callable[[], None]
) -> None:
    """Register deployments and run what is due; as `prefect.serve`, without its message.

    Prefect's message tells of a command that finds no server in another shell.

    Args:
        deployments: What is served.
        registered: Called when the server knows all of them, before the first run.
    """
    # One at a time, of all deployments: they share the workspace.
    runner = TerminableRunner(pause_on_shutdown=True, limit=1)
    try:
        for deployment in deployments:
            runner.add_deployment(deployment)
        registered()
        asyncio.run(runner.start())
    except KeyboardInterrupt:
        return
