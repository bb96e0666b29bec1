"""`ofa-pipeline front`, `compare` and `explain`: what more there is to ask the registry."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.table import Table

from ofa_pipeline.cli.chosen import (
    MaxSizeOption,
    MinAccuracyOption,
    QuantileOption,
    VerdictOption,
    bytes_of,
)
from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.options import DatasetOption, JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stdout
from ofa_pipeline.cli.subnets import (
    NeededDeviceOption,
    NeededLatencyOption,
    subnet_table,
)

if TYPE_CHECKING:
    from ofa_pipeline.documents import Document
    from ofa_pipeline.documents.answers import ComparisonAnswer
    from ofa_pipeline.registry import Explanation, RegisteredSubnet


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("front")(front)
    app.command("compare")(compare)
    app.command("explain")(explain)


def front(
    *,
    device: NeededDeviceOption,
    quantile: QuantileOption = "p50",
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Show the Pareto front of a device: nothing registered is as fast and more accurate."""
    from ofa_pipeline.registry import open_registry
    from ofa_pipeline.registry.answers import front_answer

    found = open_registry(workspace).front(device=device, quantile=quantile, dataset=dataset)
    if as_json:
        print_answer(front_answer(found, device=device, quantile=quantile))
        return
    print_table(subnet_table(found, device=device, quantile=quantile), stdout)


def compare(
    versions: Annotated[
        list[str],
        typer.Argument(metavar="models:/NAME/VERSION...", help="Two or more, of one dataset."),
    ],
    *,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Show registered versions side by side, and how they differ from the first."""
    from ofa_pipeline.registry import open_registry
    from ofa_pipeline.registry.answers import comparison_answer

    found = open_registry(workspace).compare(versions)
    answer = comparison_answer(found)
    if as_json:
        print_answer(answer)
        return
    print_table(_comparison_table(answer), stdout)


def explain(  # noqa: PLR0913 - options of a command
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
    """Say which subnet is best, which comes second, and what a larger budget would buy."""
    from ofa_pipeline.registry import Question, open_registry
    from ofa_pipeline.registry.answers import explanation_answer

    question = Question(
        device=device,
        max_latency_ms=max_latency_ms,
        quantile=quantile,
        verdict=verdict,
        min_accuracy=min_accuracy,
        max_size_bytes=bytes_of(max_size_mb),
        dataset=dataset,
    )
    found = open_registry(workspace).explain(question)
    if as_json:
        print_answer(explanation_answer(found))
        return
    listed = [item for item in (found.subnet, found.runner_up, found.next_better) if item]
    unique = list({item.model_uri: item for item in listed}.values())
    print_table(subnet_table(unique, device=device, quantile=quantile), stdout)
    for line in explanation_lines(found):
        stdout.print(line, **PLAIN)


def explanation_lines(found: "Explanation") -> list[str]:
    """Return in words what a subnet is the best of, and the price of more accuracy."""
    lines = [f"best: {_named(found.subnet)}"]
    if found.runner_up is None:
        lines.append("runner-up: none, it is the only one within the bounds")
    else:
        lost = 100 * (found.subnet.record.accuracy_top1 - found.runner_up.record.accuracy_top1)
        noise = " (within the noise)" if lost <= found.noise_points else ""
        lines.append(f"runner-up: {_named(found.runner_up)}, {lost:.2f} points less{noise}")
    if found.next_better is None:
        lines.append("next better: none, nothing registered is more accurate")
        return lines
    price = "" if found.points_per_ms is None else f", {found.points_per_ms:.3g} points a ms"
    noise = (
        f"; within the noise of {found.noise_points:.2f} points, it may be no better"
        if found.is_gain_noise
        else ""
    )
    lines.append(
        f"next better: {_named(found.next_better)}, {found.points_gained:.2f} points more for "
        f"{found.extra_ms:.3g} ms more{price}{noise}"
    )
    return lines


def print_answer(answer: "Document") -> None:
    """Print a document as JSON."""
    typer.echo(json.dumps(answer.to_dict(), indent=2))


def _named(subnet: "RegisteredSubnet") -> str:
    return f"{subnet.record.arch.arch_id} ({subnet.model_uri})"


def _comparison_table(answer: "ComparisonAnswer") -> Table:
    """Return a table with a column a version and a row a figure."""
    from ofa_pipeline.documents import Quantile

    table = Table(title="Comparison", title_justify="left")
    table.add_column("", overflow="fold")
    for item in answer.subnets:
        table.add_column(f"{item.model_name} v{item.version}", justify="right", overflow="fold")
    items = answer.subnets
    table.add_row("arch", *(item.arch_id for item in items))
    table.add_row("device", *(item.device for item in items))
    table.add_row("top-1 on test", *(f"{item.accuracy_top1:.2%}" for item in items))
    changes = [
        f"{item.accuracy_points:+.2f}{' (noise)' if item.is_within_noise else ''}"
        for item in answer.differences
    ]
    table.add_row("points against the first", "", *changes)
    for device in sorted({name for item in items for name in item.latency}):
        figures = [item.latency.get(device) for item in items]
        for quantile in get_args(Quantile):
            cells = [f"{item.value_ms(quantile):.3g}" if item else "-" for item in figures]
            table.add_row(f"{quantile} ms on {device}", *cells)
    table.add_row("MACs", *(f"{item.macs / 1e6:.2f} M" for item in items))
    table.add_row("file", *(f"{item.size_bytes / 1e6:.2f} MB" for item in items))
    table.add_row("bundle", *(item.bundle_digest[:12] for item in items))
    return table
