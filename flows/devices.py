"""Add a device, or new budgets for one: search and specialise, without training."""

from collections.abc import Sequence

from prefect import flow
from prefect.client.schemas.objects import State

from flows.checks import check_run
from flows.dvc_client import DvcClient, Watcher
from flows.names import name_of_flow_run
from flows.outlook import followed
from flows.pipeline import open_workspace, serve_devices
from flows.results import show_results
from flows.stages import bring_up_to_date, say
from flows.waiting import Waiting, until_measured
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.planning import address_of
from ofa_pipeline.registry import begin_registry


@flow(name="add-device", flow_run_name=name_of_flow_run, validate_parameters=False)
def add_devices(workspace: str, devices: list[str]) -> State[str] | None:
    """Serve some devices of params.yaml from the supernet that is there.

    Where a device elsewhere has to be measured first, it says what to do: of a deployment it is
    suspended until it was; otherwise it ends as ``Awaited``, and the next run goes on from there.

    Args:
        workspace: Folder with params.yaml; held by the process that runs this.
        devices: Names in params.yaml.

    Raises:
        ManifestMismatchError: If the supernet, or what was measured on it, is not up to date:
            this flow never trains.
    """
    with open_workspace(workspace) as dvc:
        waiting = serve(dvc, devices)
    return until_measured(workspace, waiting)


@flow(name="profile-device", flow_run_name=name_of_flow_run, validate_parameters=False)
def profile_devices(workspace: str, devices: list[str], again: bool) -> State[str] | None:
    """Measure subnets on some devices and fit their latency models; nothing is trained.

    It ends as ``Awaited``, with what to do, where a device elsewhere has to be measured first.

    Args:
        workspace: Folder with params.yaml; held by the process that runs this.
        devices: Names in params.yaml.
        again: Whether to measure what is up to date once more.

    Raises:
        StageFailedError: If a device cannot be measured.
    """
    with open_workspace(workspace) as dvc:
        check_run(dvc.root, load_params(dvc.root / "params.yaml"))
        for stage in ("list_source", "prepare_dataset"):
            bring_up_to_date(dvc, stage)
        waiting = serve_devices(dvc, devices, stages=["profile_latency"], again=again)
    return until_measured(workspace, waiting)


def serve(dvc: DvcClient, devices: Sequence[str]) -> Waiting | None:
    """Serve devices in a workspace that is held; see `add_devices`."""
    params = load_params(dvc.root / "params.yaml")
    for device in devices:
        params.device(device)
    check_run(dvc.root, params, reads_images=False)
    with followed(dvc, params, devices) as outlook_is_made:
        bring_up_to_date(dvc, "list_source")
        registry_is_made = begin_registry(dvc.root, params)
        check_shared(dvc, params)
        outlook_is_made()
        registry_is_made()
        waiting = serve_devices(dvc, devices)
        if waiting is None:
            finish(dvc, params)
    return waiting


def check_shared(dvc: DvcClient, params: Params) -> None:
    """Check that what all devices share is up to date.

    Raises:
        ManifestMismatchError: If it is not; names the stages.
    """
    stale = dvc.ask("status", shared_addresses(params), Watcher())
    if stale:
        raise ManifestMismatchError(
            "a device is added to a supernet that is up to date, but "
            f"{', '.join(stale)} would have to run first. Run the whole pipeline: "
            "ofa-pipeline run"
        )


def finish(dvc: DvcClient, params: Params) -> None:
    """Make the report, where every device is registered, and file what came out."""
    registered = [address_of("register", device) for device in params.devices]
    stale = dvc.ask("status", registered, Watcher())
    if stale:
        say(
            f"the report is not made again: {', '.join(stale)} would have to run first. Run the "
            "whole pipeline: ofa-pipeline run"
        )
        return
    bring_up_to_date(dvc, "report")
    show_results(dvc.root, params)


def shared_addresses(params: Params) -> list[str]:
    """Return the stages that all devices share: what is done once for all."""
    phases = [address_of("train_supernet", phase) for phase in params.phases]
    return ["prepare_dataset", *phases, "collect_accuracy", "fit_predictor"]
