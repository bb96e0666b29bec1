"""Serve other latency budgets of a device: search again, without training."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.devices import serve
from flows.names import name_of_flow_run
from flows.pipeline import open_workspace
from flows.recertify import DeviceName
from flows.waiting import until_measured
from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.params import set_budgets

Budgets = Annotated[
    list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1, max_length=64)
]


@flow(name="re-search", flow_run_name=name_of_flow_run)
def re_search(workspace: str, device: DeviceName, budgets_ms: Budgets) -> State[str] | None:
    """Write new budgets of a device into params.yaml, and search, specialise and register.

    Where the device is elsewhere and has to be measured first, it says what to do and is suspended
    until it was.

    Args:
        workspace: Folder with params.yaml; held by the process that runs this.
        device: Name in params.yaml.
        budgets_ms: Milliseconds a call, ascending; they replace those of params.yaml.

    Raises:
        ParamsError: If there is no such device, or the budgets are wrong; nothing is written then.
        ManifestMismatchError: If the supernet, or what was measured on it, is not up to date.
    """
    with open_workspace(workspace) as dvc:
        path = dvc.root / "params.yaml"
        text = set_budgets(path.read_text(), device, budgets_ms, origin=str(path))
        write_bytes(path, text.encode())
        waiting = serve(dvc, [device])
    return until_measured(workspace, waiting)
