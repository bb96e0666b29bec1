"""`ofa-pipeline search`: the best subnets of many budgets, from saved estimates alone."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ofa_pipeline.cli.options import JsonOption
from ofa_pipeline.cli.output import stderr, stdout
from ofa_pipeline.errors import ParamsError

if TYPE_CHECKING:
    from ofa_pipeline.reference.offline import EstimatedPick, OfflineResult


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("search")(search)


def search(  # noqa: PLR0913 - options of a command
    *,
    space: Annotated[str, typer.Option(help="Id of the search space, as of a supernet.")],
    accuracy: Annotated[
        Path,
        typer.Option(help="Folder of a saved predictor, a published .pth, or a .parquet table."),
    ],
    latency: Annotated[
        Path,
        typer.Option(help="Look-up table(s), a latency artifact, or a .parquet table."),
    ],
    budgets: Annotated[str, typer.Option(help="Milliseconds, for example 15,20,25.")],
    latency_column: Annotated[
        str | None, typer.Option(help="Of a .parquet table of latencies.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the files.")] = Path(
        "search"
    ),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Search the front of estimated accuracy against latency, without a supernet or data.

    Writes front.parquet, front.svg and estimated_picks.json.
    """
    from ofa_pipeline.cli.display import Display
    from ofa_pipeline.memory import keep_freed_memory
    from ofa_pipeline.progress import Reporter
    from ofa_pipeline.reference.offline import PICKS_FILE, OfflineRequest, search_offline

    request = OfflineRequest(
        space_id=space,
        accuracy=accuracy,
        latency=latency,
        budgets_ms=_numbers(budgets),
        output=output,
        latency_column=latency_column,
        seed=seed,
    )
    keep_freed_memory()
    with Display(stderr) as display:
        reporter = Reporter(lambda event: display.show("search", event))
        result = search_offline(request, reporter=reporter)
    if as_json:
        typer.echo(json.dumps(json.loads((output / PICKS_FILE).read_text()), indent=2))
        return
    stdout.print(_table(result))
    stdout.print(
        f"{result.num_efficient} efficient subnets in {result.duration_s:.1f} s; wrote "
        + ", ".join(str(path) for path in result.files),
        highlight=False,
    )


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ParamsError(
            f"--budgets must be milliseconds separated by commas, got {text!r}"
        ) from error


def _table(result: "OfflineResult") -> Table:
    table = Table(title="best subnet within each budget, by estimate")
    names = ("budget ms", "top-1 %", "+-", "latency ms", "points per ms", "px", "MMACs", "arch")
    for name in names:
        table.add_column(name, justify="left" if name == "arch" else "right")
    for pick in result.picks:
        table.add_row(*_cells(pick))
    return table


def _cells(pick: "EstimatedPick") -> tuple[str, ...]:
    return (
        f"{pick.budget_ms:g}",
        f"{100 * pick.accuracy_top1_estimated:.2f}",
        f"{100 * pick.accuracy_std_estimated:.2f}",
        f"{pick.latency_ms_estimated:.4g}",
        f"{pick.price_points_per_ms:.3g}",
        str(pick.arch.resolution_px),
        f"{pick.macs / 1e6:.1f}",
        pick.arch.arch_id,
    )
