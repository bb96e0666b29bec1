"""`python -m flows.run`: one run of the pipeline, here and now; `ofa-pipeline run` starts this."""

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from flows.dvc_client import StageFailedError
from flows.environment import API_VARIABLE, set_up_prefect
from flows.server import prefect_server
from flows.settings import Setting, import_prefect
from flows.watch import ServerLostError, ServerWatch, leave
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.display import Display, duration_text
from ofa_pipeline.cli.output import PLAIN, report_awaited, report_error, stderr, stdout
from ofa_pipeline.cli.profiled import show_profiles
from ofa_pipeline.cli.programs import become
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.errors import RegistryError
from ofa_pipeline.exit_codes import EXIT_AWAITED, EXIT_ERROR, exit_code_of, exit_on_sigterm
from ofa_pipeline.masking import mask_logs, mask_secrets
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.preflight import check_before_work
from ofa_pipeline.run_warnings import RunWarning, count_text
from ofa_pipeline.workspace import check_dvc_files, check_version_control, hold_workspace

_DRAIN_TIMEOUT_S = 10
_POLL_S = 2.0


def main(arguments: list[str]) -> int:
    """Run the pipeline in a workspace and show what came out.

    Returns:
        One of the exit codes of `ofa-pipeline --help`.
    """
    options = _parse(arguments)
    root = options.workspace.resolve()
    exit_on_sigterm()
    try:
        params = load_params(root / "params.yaml")
        for device in options.device:
            params.device(device)
        mask_logs()
        server = set_up_prefect(root, os.environ)
        check_dvc_files(root)
        check_version_control(root)
        # Before Prefect, which takes its time to start.
        doubts = check_before_work(params, root, reads_images=options.profile or not options.device)
        for doubt in doubts:
            stderr.print(f"warning: {doubt.what}: {doubt.found}", style="yellow", **PLAIN)
        with hold_workspace(root, role="run"):
            awaited = _run_and_show(root, params, options, server)
        if awaited:
            report_awaited(awaited)
            if not options.wait:
                return EXIT_AWAITED
            _wait_for_measurements(root, options.device or params.devices)
            become("flows.run", *arguments)  # afresh: this Prefect has ended with its server
    except ServerLostError as error:
        report_error(error, debug=options.debug)
        leave(EXIT_ERROR)
    except StageFailedError as error:
        report_error(error, debug=options.debug)
        return error.exit_code
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the boundary
        report_error(_as_outage(error), debug=options.debug)
        return exit_code_of(error)
    return 0


def _run_and_show(
    root: Path, params: Params, options: argparse.Namespace, server: Setting | None
) -> str | None:
    """Run the flow and show what came out; return what is to be measured elsewhere first."""
    start = time.monotonic()
    awaited = _run_flow(root, options, server)
    if awaited:
        return awaited
    if options.profile:
        show_profiles(root, options.device)
    else:
        _show_results(root, params, duration_s=time.monotonic() - start)
    return None


def _wait_for_measurements(root: Path, devices: Iterable[str]) -> None:
    """Wait until what is awaited of one of the devices has come; nobody holds the workspace."""
    stores = [ElsewhereStore(Layout(root), device) for device in devices]
    awaited = [store for store in stores if store.awaited() is not None]
    if awaited:
        names = ", ".join(store.device for store in awaited)
        stderr.print(f"waiting for measurements of {names}; Ctrl-C ends", style="dim", **PLAIN)
    while awaited and all(store.awaited() is not None for store in awaited):
        time.sleep(_POLL_S)


def _as_outage(error: BaseException) -> BaseException:
    """Return what is behind an error of Prefect's: an outage is no fault of the program."""
    if "prefect" not in sys.modules:
        return error
    from flows.outage import as_outage

    return as_outage(error) or error


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.run", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--device", action="append", default=[])
    parser.add_argument("--profile", action="store_true", help="only measure the devices")
    parser.add_argument("--again", action="store_true", help="though they are up to date")
    parser.add_argument("--wait", action="store_true", help="for devices elsewhere")
    parser.add_argument("--debug", action="store_true")
    return parser.parse_args(arguments)


def _run_flow(root: Path, options: argparse.Namespace, server: Setting | None) -> str | None:
    """Run the flow; return what is to be measured elsewhere before it can go on."""
    stderr.print("starting Prefect ...", style="dim")
    with ExitStack() as stack:
        watch = _start_server(root, stack) if server is None else _check_server(server)
        stack.enter_context(watch.guard())
        stack.callback(_send_records, watch)
        return _call_flow(root, options)


def _start_server(root: Path, stack: ExitStack) -> ServerWatch:
    """Start a server of the workspace's own, which ends with the stack."""
    server = stack.enter_context(prefect_server(root))
    os.environ[API_VARIABLE] = server.api_url
    # What goes on after a wait would take the address for one of the user's.
    stack.callback(os.environ.pop, API_VARIABLE, None)
    # Prefect takes as long to import as its server to start.
    import_prefect()
    import flows.pipeline  # noqa: F401

    server.wait_until_ready()
    return ServerWatch(server.wait_for_end)


def _check_server(server: Setting) -> ServerWatch:
    """Check that the user's server is there."""
    from flows.outage import check_server, wait_for_loss

    check_server(server)
    import_prefect()

    def wait_for_end(is_over: threading.Event) -> str | None:
        return wait_for_loss(server, is_over)

    return ServerWatch(wait_for_end)


def _send_records(watch: ServerWatch) -> None:
    """Send what Prefect still holds to its server, before that is stopped."""
    if watch.lost is not None:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=_DRAIN_TIMEOUT_S)
    EventsWorker.drain_all(timeout=_DRAIN_TIMEOUT_S)


def _call_flow(root: Path, options: argparse.Namespace) -> str | None:
    from prefect import tags

    from flows.crashes import workspace_tag
    from flows.devices import add_devices, profile_devices
    from flows.pipeline import pipeline
    from flows.stages import DISPLAY

    with tags(workspace_tag(root)), Display(stderr) as display:
        token = DISPLAY.set(display)
        try:
            if options.profile:
                found = profile_devices(str(root), options.device, options.again)
            elif options.device:
                found = add_devices(str(root), options.device)
            else:
                found = pipeline(str(root))
        finally:
            DISPLAY.reset(token)
    # Of the state that it may end with, Prefect returns the data.
    return None if found is None else str(found)


def _show_results(root: Path, params: Params, *, duration_s: float) -> None:
    from ofa_pipeline.cli.listing import print_table
    from ofa_pipeline.cli.subnets import subnet_table
    from ofa_pipeline.registry import missing_receipts, registered_subnets, tracking_uri
    from ofa_pipeline.stages import warnings_of_run

    layout = Layout(root)
    served = [name for name in params.devices if (layout.registry(name) / Layout.RECEIPTS).exists()]
    found = [subnet for name in served for subnet in registered_subnets(layout, params, name)]
    print_table(subnet_table(found), stdout)
    _show_warnings(warnings_of_run(layout, params))
    missing = [
        f"{device}: {bundle}"
        for device in served
        for bundle in missing_receipts(layout, params, device)
    ]
    if missing:
        raise RegistryError(
            f"every subnet must be in the registry {mask_secrets(tracking_uri(root))} after a run, "
            f"but {len(missing)} of those that were registered are not ({missing[0]}, ...). Look "
            "whether another registry was written (MLFLOW_TRACKING_URI), and run again."
        )
    others = [name for name in params.devices if name not in served]
    report = str(layout.report / Layout.REPORT_PAGE)
    if others:  # this run served some devices alone, and the report is of all
        report = f"not made yet of {', '.join(others)}: serve them, too, with ofa-pipeline run"
    stdout.print(f"report: {report}", highlight=False, soft_wrap=True)
    stdout.print(f"done in {duration_text(duration_s)}", highlight=False)


def _show_warnings(warnings: Sequence[RunWarning]) -> None:
    """Say once more what went wrong, also in the stages that this run skipped."""
    if not warnings:
        return
    stderr.print(count_text(warnings), style="yellow", **PLAIN)
    for warning in warnings:
        stderr.print(f"  {warning.address}: {warning.text}", style="yellow", **PLAIN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
