"""`python -m flows.serve`: run the pipeline on the schedule of params.yaml.

Serves the deployments of one workspace (`flows.deployments`): the whole pipeline on its schedule,
the nightly re-certification, and on demand new devices and new budgets. Without a Prefect server
of your own (``PREFECT_API_URL``), one is started beside it, with its page on ``--port`` and its
records in the workspace.
"""

import argparse
import importlib
import json
import os
import shlex
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flows.deployments import DEPLOYMENTS, RUNS_AT_A_TIME, WHEN_ONE_RUNS, WHEN_ONE_WAITS, Deployment
from flows.environment import API_VARIABLE, set_up_prefect
from flows.outage import as_outage, check_server, masked
from flows.server import prefect_server
from flows.settings import import_prefect
from flows.watch import ServerLostError, ServerWatch, leave
from ofa_pipeline.cli.output import PLAIN, report_error, stdout
from ofa_pipeline.errors import WorkspaceBusyError
from ofa_pipeline.exit_codes import EXIT_ERROR, exit_code_of, exit_on_sigterm
from ofa_pipeline.masking import mask_logs
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.preflight import check_prefect
from ofa_pipeline.workspace import (
    check_dvc_files,
    check_version_control,
    checkout_folder,
    hold_workspace,
)

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment

DEFAULT_PORT = 4200


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Returns:
        One of the exit codes of `ofa-pipeline --help`.
    """
    options = _parse(arguments)
    root = options.workspace.resolve()
    exit_on_sigterm()
    try:
        params = load_params(root / "params.yaml")
        mask_logs()
        configured = set_up_prefect(root, os.environ)
        check_prefect(os.environ)
        check_dvc_files(root)
        check_version_control(root)
        with ExitStack() as stack:
            if configured is None:
                server = stack.enter_context(prefect_server(root, port=options.port))
                os.environ[API_VARIABLE] = server.api_url
                server.wait_until_ready()
                stack.enter_context(ServerWatch(server.wait_for_end).guard())
                stdout.print(f"runs, schedules and logs: {server.url}", highlight=False)
            else:
                check_server(configured)
            import_prefect()
            _serve(root, params, server=configured.value if configured else server.api_url)
    except ServerLostError as error:
        report_error(error, debug=options.debug)
        leave(EXIT_ERROR)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the boundary
        report_error(as_outage(error) or error, debug=options.debug)
        return exit_code_of(error)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="of the server's page")
    parser.add_argument("--debug", action="store_true")
    return parser.parse_args(arguments)


def _serve(root: Path, params: Params, *, server: str) -> None:
    from flows.crashes import crash_silent_runs, mark_crashed_runs
    from flows.runner import run_until_told
    from flows.waiting import resume_as_they_arrive

    crash_silent_runs()
    # One that was killed with its server would keep every later one from starting.
    with suppress(WorkspaceBusyError), hold_workspace(root, role="run"):
        mark_crashed_runs(root)
    # Prefect looks for the flow's imports in the current folder first: nobody else's there.
    os.chdir(checkout_folder())
    cron, timezone = params.schedule.cron, params.schedule.timezone
    strategy = WHEN_ONE_WAITS if params.schedule.when_busy == "wait" else WHEN_ONE_RUNS
    served = [
        _served(
            row,
            root,
            cron=row.cron if not row.is_scheduled else cron,
            timezone=timezone,
            strategy=strategy,
        )
        for row in DEPLOYMENTS
    ]
    names = [f"{deployment.flow_name}/{deployment.name}" for deployment in served]
    say = partial(stdout.print, **PLAIN)

    def say_what_is_served() -> None:
        say(f"to run now, in any shell:\n{start_commands(names, params, server=server)}")
        say(f"serving {root}: the pipeline at {cron!r} ({timezone})")

    threading.Thread(target=resume_as_they_arrive, args=(root, say), daemon=True).start()
    run_until_told(served, registered=say_what_is_served)


def start_commands(names: Iterable[str], params: Params, *, server: str) -> str:
    """Return a line a deployment with the command that runs it now.

    The commands hold in a shell that knows neither this environment nor its server.

    Args:
        names: Of the deployments, as ``FLOW/NAME``, in the order of `DEPLOYMENTS`.
        params: Name a device for the example.
        server: Address of the Prefect server.
    """
    device = json.dumps([next(iter(params.devices))])
    program = shlex.quote(str(Path(sys.executable).with_name("prefect")))
    words = f"{API_VARIABLE}={shlex.quote(masked(server))} {program} deployment run"
    lines = []
    for row, name in zip(DEPLOYMENTS, names, strict=True):
        option = f" --param {shlex.quote(f'devices={device}')}"
        if row.needed:
            option = f" --param {shlex.quote(f'device={device[1:-1]}')} --param 'budgets_ms=[1.0]'"
        is_told = row.needed or "devices" in row.parameters
        lines.append(f"  {words} {name}{option if is_told else ''}")
    return "\n".join(lines)


def _served(
    row: Deployment, root: Path, *, cron: str, timezone: str, strategy: str
) -> "RunnerDeployment":
    from prefect.client.schemas.objects import (
        ConcurrencyLimitConfig,
        ConcurrencyLimitStrategy,
    )
    from prefect.schedules import Cron

    from flows.crashes import workspace_tag

    flow: Flow[..., None] = getattr(importlib.import_module(row.module), row.flow)
    made = flow.to_deployment(
        name=row.name,
        description=row.description,
        schedule=Cron(cron, timezone=timezone) if cron else None,
        parameters={"workspace": str(root), **row.parameters},
        tags=[workspace_tag(root)],
        concurrency_limit=ConcurrencyLimitConfig(
            limit=RUNS_AT_A_TIME, collision_strategy=ConcurrencyLimitStrategy(strategy)
        ),
    )
    return cast("RunnerDeployment", made)  # a coroutine only inside async code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
