"""Serve other latency budgets of a device: search again, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.devices import serve
from flows.names import name_of_flow_run
from flows.pipeline import open_workspace
from flows.recertify import DeviceName
from flows.waiting import has_waited, until_measured
from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.params import load_params, set_budgets

Budgets = Annotated[
    list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1, max_length=64)
]


@flow(name="re-search", flow_run_name=name_of_flow_run)
def re_search(workspace: str, device: DeviceName, budgets_ms: Budgets) -> State[str] | None:
    """Write new budgets of a device into params.yaml, and search, specialise and register.

    Where the device is elsewhere and has to be measured first, it says what to do and is suspended
    until it was. Then it goes on with its budgets, unless somebody has written others meanwhile.

    Args:
        workspace: Folder with params.yaml; held by the process that runs this.
        device: Name in params.yaml.
        budgets_ms: Milliseconds a call, ascending; they replace those of params.yaml.

    Raises:
        ParamsError: If there is no such device, the budgets are wrong, or were changed by somebody
            while the run waited; nothing is written then.
        ManifestMismatchError: If the supernet, or what was measured on it, is not up to date.
    """
    with open_workspace(workspace) as dvc:
        path = dvc.root / "params.yaml"
        if has_waited():
            _require_budgets(path, device, budgets_ms)
        else:
            text = set_budgets(path.read_text(), device, budgets_ms, origin=str(path))
            write_bytes(path, text.encode())
        waiting = serve(dvc, [device])
    return until_measured(workspace, waiting)


def _require_budgets(path: Path, device: str, budgets_ms: Budgets) -> None:
    """Check that the budgets are those that this run wrote before it waited."""
    found = load_params(path).device(device)
    if found.budgets_ms != tuple(budgets_ms):
        now = found.budgets_ms or found.budget_fractions or ()
        raise ParamsError(
            f"{path}: the budgets of {device} must be those that this run wrote before it waited, "
            f"{_listed(budgets_ms)} ms, but are {_listed(now)}: somebody changed them meanwhile, "
            "and they stay. Serve them: ofa-pipeline run --device "
            f"{device}; or start re-search with other ones."
        )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
