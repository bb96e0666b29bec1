"""`ofa-pipeline best` and `subnets`: what the deployment team asks the registry."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ofa_pipeline.cli.chosen import (
    MaxSizeOption,
    MinAccuracyOption,
    QuantileOption,
    VerdictOption,
    bytes_of,
)
from ofa_pipeline.cli.hints import command, pasteable
from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.options import DatasetOption, JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.masking import mask_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ofa_pipeline.documents import Quantile
    from ofa_pipeline.registry import RegisteredSubnet

DeviceOption = Annotated[
    str | None, typer.Option("--device", "-d", help="Only what was measured on this device.")
]
NeededDeviceOption = Annotated[str, typer.Option("--device", "-d", help="Name of a device.")]
NeededLatencyOption = Annotated[
    float, typer.Option("--max-latency-ms", "-t", min=0, help="Measured latency of a call.")
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("best")(best)
    app.command("subnets")(subnets)


def best(  # noqa: PLR0913 - options of a command
    *,
    device: NeededDeviceOption,
    max_latency_ms: NeededLatencyOption,
    quantile: QuantileOption = "p50",
    verdict: VerdictOption = None,
    min_accuracy: MinAccuracyOption = None,
    max_size_mb: MaxSizeOption = None,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Show the most accurate registered subnet within a latency on a device.

    The registry alone answers: MLFLOW_TRACKING_URI, or the workspace's own. A workspace is
    answered with subnets of its own dataset.
    """
    from ofa_pipeline.registry import open_registry
    from ofa_pipeline.registry.answers import subnet_answer

    found = open_registry(workspace).best(
        device=device,
        max_latency_ms=max_latency_ms,
        quantile=quantile,
        verdict=verdict,
        min_accuracy=min_accuracy,
        max_size_bytes=bytes_of(max_size_mb),
        dataset=dataset,
    )
    if as_json:
        _print_json(subnet_answer(found).to_dict())
    else:
        print_table(subnet_table([found], device=device, quantile=quantile), stdout)
        stdout.print(_picked_for(found), highlight=False)
        stdout.print(_how_to_use(found, workspace), **PLAIN)


def subnets(
    *,
    device: DeviceOption = None,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """List the registered subnets; in a workspace, those of its dataset."""
    from ofa_pipeline.registry import ANY_DATASET, open_registry, tracking_uri
    from ofa_pipeline.registry.answers import list_answer

    registry = open_registry(workspace)
    found = registry.list_subnets(device=device, dataset=dataset)
    if as_json:
        _print_json(list_answer(found).model_dump(mode="json"))
    elif found:
        print_table(subnet_table(found), stdout)
    others = registry.list_subnets(device=device, dataset=ANY_DATASET)
    if len(others) > len(found):
        # Beside the answer, so that what reads it reads nothing else.
        stderr.print(pasteable(_not_shown(found, others)), **PLAIN)
    elif not found and not as_json:
        where = mask_secrets(tracking_uri(workspace))
        told = f"nothing is registered yet on {where}. Run: ofa-pipeline run"
        stdout.print(pasteable(told), **PLAIN)


def _how_to_use(subnet: "RegisteredSubnet", workspace: Path) -> str:
    """Return how to load and to fetch a subnet, to be pasted into Python and into a shell."""
    from ofa_pipeline.registry import URI_VARIABLE, is_database, tracking_uri

    # Who has set the variable has it in Python, too; and it may hold a password. But a relative
    # address means the workspace here, and the current folder there.
    given, address = os.environ.get(URI_VARIABLE, "").strip(), tracking_uri(workspace)
    place = address if not given or (given != address and is_database(address)) else ""
    told = f"mlflow.set_tracking_uri({place!r}); " if place else ""
    return (
        f"load it with: import mlflow; {told}"
        f"model = mlflow.pyfunc.load_model({subnet.model_uri!r})\n"
        f"fetch it with: {command('pull', subnet.model_uri)}"
    )


def _picked_for(subnet: "RegisteredSubnet") -> str:
    budgets = ", ".join(f"{budget:.3g}" for budget in subnet.record.budgets_ms)
    if not budgets:
        return "picked for no budget"
    return f"picked for the budget{'s' if ',' in budgets else ''} {budgets} ms"


def _not_shown(found: "Sequence[RegisteredSubnet]", others: "Sequence[RegisteredSubnet]") -> str:
    """Return the line about subnets that are registered, but not of the dataset that is meant."""
    from ofa_pipeline.registry import dataset_label

    shown = {subnet.model_uri for subnet in found}
    hidden = [subnet for subnet in others if subnet.model_uri not in shown]
    names = ", ".join(sorted({dataset_label(subnet.record) for subnet in hidden}))
    count = f"{len(hidden)} subnet{'s' if len(hidden) > 1 else ''} of other datasets"
    nothing = "" if found else "no subnet of this dataset is registered here; "
    return f"{nothing}not shown: {count} ({names}). See them with: --dataset any"


def subnet_table(
    subnets: "Sequence[RegisteredSubnet]",
    *,
    device: str | None = None,
    quantile: "Quantile" = "p50",
) -> Table:
    """Return the table of subnets that people read.

    Args:
        subnets: A row each.
        device: Whose latency is shown; None: each subnet's own device.
        quantile: Of the latency.
    """
    names = _dataset_column(subnets)
    table = Table(title="Registered subnets", title_justify="left")
    table.add_column("device", overflow="fold")
    table.add_column("dataset", overflow="fold")
    table.add_column("budget ms", justify="right")
    table.add_column("arch", no_wrap=True)
    table.add_column("top-1 on test", justify="right")
    table.add_column("measured ms" if quantile == "p50" else "p95 ms", justify="right")
    table.add_column("MACs", justify="right")
    table.add_column("registry version", overflow="fold")
    for subnet in subnets:
        record = subnet.record
        table.add_row(
            device or record.device,
            names[record.dataset_digest, record.dataset],
            ", ".join(f"{budget:.3g}" for budget in record.budgets_ms),
            record.arch.arch_id,
            f"{record.accuracy_top1:.2%}",
            f"{record.latency[device or record.device].value_ms(quantile):.3g}",
            f"{record.macs / 1e6:.2f} M",
            f"{record.model_name} v{subnet.version}",
        )
    return table


def _dataset_column(subnets: "Sequence[RegisteredSubnet]") -> dict[tuple[str, str], str]:
    """Return what to call each dataset, by digest and name.

    The digest stands behind a name that the images of several digests have.
    """
    from ofa_pipeline.registry import dataset_label

    names = {
        (subnet.record.dataset_digest, subnet.record.dataset): dataset_label(subnet.record)
        for subnet in subnets
    }
    many = {name for name, count in Counter(names.values()).items() if count > 1}
    return {key: f"{name} {key[0][:8]}" if name in many else name for key, name in names.items()}


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))
