"""`python -m flows.platform start | init`: the servers of a team on one machine.

``start`` runs Prefect's server, MLflow's and the registry service until Ctrl-C, on localhost.
Databases and the store of files are named by variables, since they hold passwords:
``OFA_PIPELINE_MLFLOW_DATABASE``, ``OFA_PIPELINE_PREFECT_DATABASE`` and
``OFA_PIPELINE_ARTIFACTS``; without them everything lies in ``--folder``. ``init`` prepares a
Prefect server that runs elsewhere, that of ``PREFECT_API_URL``.
"""

import argparse
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from flows.environment import API_VARIABLE, set_up_prefect
from flows.outage import as_outage, check_server
from flows.server import private_folder
from flows.services import (
    WORK_POOL,
    PlatformError,
    Ports,
    RunningService,
    Stores,
    services_of,
    set_up_server,
)
from flows.settings import import_prefect
from flows.webhooks import unreadable_webhooks, webhook_key
from ofa_pipeline.cli.output import PLAIN, report_error, stderr, stdout
from ofa_pipeline.exit_codes import exit_code_of, exit_on_sigterm
from ofa_pipeline.masking import mask_logs
from ofa_pipeline.registry import URI_VARIABLE, MlflowRegistry, default_address
from ofa_pipeline.telemetry import keep_quiet, refuse_pickles

MLFLOW_DATABASE = "OFA_PIPELINE_MLFLOW_DATABASE"
PREFECT_DATABASE = "OFA_PIPELINE_PREFECT_DATABASE"
ARTIFACTS = "OFA_PIPELINE_ARTIFACTS"
_WATCH_S = 1.0


def main(arguments: list[str]) -> int:
    """Start the platform, or prepare a server.

    Returns:
        One of the exit codes of `ofa-pipeline --help`.
    """
    options = _parse(arguments)
    exit_on_sigterm()
    mask_logs()
    keep_quiet(os.environ)
    refuse_pickles(os.environ)
    try:
        if options.what == "init":
            _init(options.folder.resolve())
        else:
            _start(options)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the boundary
        report_error(as_outage(error) or error, debug=options.debug)
        return exit_code_of(error)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.platform", description=__doc__)
    parser.add_argument("what", choices=["start", "init"])
    parser.add_argument("--folder", type=Path, default=Path("platform"))
    parser.add_argument("--prefect-port", type=int, default=4200)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    parser.add_argument("--registry-port", type=int, default=8100)
    parser.add_argument("--debug", action="store_true")
    return parser.parse_args(arguments)


def _init(folder: Path) -> None:
    configured = set_up_prefect(folder, os.environ)
    if configured is None:
        raise PlatformError(
            f"{API_VARIABLE} must be the address of the Prefect server to prepare, but is not set: "
            "export PREFECT_API_URL=http://HOST:4200/api"
        )
    check_server(configured)
    import_prefect()
    set_up_server()
    stdout.print(
        f"{configured.value}: runs that stop to report are marked as crashed; the work pool is "
        f"{WORK_POOL}",
        **PLAIN,
    )


def _start(options: argparse.Namespace) -> None:
    folder = options.folder.resolve()
    private_folder(folder)
    stores = Stores(
        folder=folder,
        mlflow_database=os.environ.get(MLFLOW_DATABASE, "").strip(),
        prefect_database=os.environ.get(PREFECT_DATABASE, "").strip(),
        artifacts=os.environ.get(ARTIFACTS, "").strip(),
        webhook_key=webhook_key(folder, os.environ),
    )
    # A database that does not answer is named before anything starts.
    MlflowRegistry(stores.mlflow_database or default_address(folder)).check()
    ports = Ports(
        prefect=options.prefect_port, mlflow=options.mlflow_port, registry=options.registry_port
    )
    services = services_of(stores, ports)
    with ExitStack() as stack:
        running = []
        for service in services:
            started = RunningService(service, folder)
            stack.callback(started.stop)
            running.append(started)
            if service.name == "mlflow":  # the registry service asks it
                started.wait_until_ready()
        for started in running:
            started.wait_until_ready()
        api_url = f"{services[0].url}/api"
        os.environ |= {"PREFECT_HOME": str(folder / "prefect"), API_VARIABLE: api_url}
        import_prefect()
        set_up_server()
        for service in services:
            stdout.print(f"{service.name:9} {service.url}", **PLAIN)
        if fault := unreadable_webhooks(services[1].url):
            stderr.print(f"warning: {fault}", **PLAIN)
        stdout.print(
            "in the shells of those who use it, and of their runs:\n"
            f"  export {API_VARIABLE}={api_url}\n"
            f"  export {URI_VARIABLE}={services[1].url}\n"
            "Ctrl-C ends all three",
            **PLAIN,
        )
        while True:
            for started in running:
                started.check_alive()
            time.sleep(_WATCH_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
