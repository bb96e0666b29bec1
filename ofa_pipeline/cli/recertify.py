"""`ofa-pipeline recertify`: is a device still what it was certified to be?"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.display import Display
from ofa_pipeline.cli.options import JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.progress import Reporter

if TYPE_CHECKING:
    from ofa_pipeline.documents import Recertification
    from ofa_pipeline.latency import Canary, Drift
    from ofa_pipeline.params import Params


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("recertify")(recertify)


def recertify(
    device: Annotated[str, typer.Argument(help="Name of a device.", metavar="DEVICE")],
    *,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Measure the subnets of a device again, and say whether it still is what was certified.

    Where latencies moved beyond the noise, the registered versions of the device are marked as
    stale: their certificates say so, and no alias takes them. The flow re-certify then profiles the
    device anew and searches again.
    """
    from ofa_pipeline.latency import fit_drift
    from ofa_pipeline.params import load_params
    from ofa_pipeline.specialize.canaries import measure_canaries

    root = workspace.resolve()
    params, layout = load_params(root / "params.yaml"), Layout(root)
    settings = params.device(device).card
    with Display(stderr) as display:
        canaries = measure_canaries(
            layout,
            device,
            settings,
            params.space.build(),
            timed_runs=params.latency.timed_runs,
            reporter=Reporter(lambda event: display.show(f"recertify {device}", event)),
        )
    drift = fit_drift(canaries, noise_cv=_noise_of(layout, device))
    stale = _mark_stale(layout, params, device, drift) if drift.has_moved else []
    answer = _answer(device, canaries, drift, stale)
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), indent=2))
    else:
        _show(answer)


def drift_text(answer: "Recertification") -> str:
    """Return in a line what was found."""
    state = "is another device than was certified" if answer.has_moved else "is as certified"
    return (
        f"{answer.device} {state}: latencies are {answer.intercept_ms:+.4g} ms + "
        f"{answer.slope:.4g} times the certified ones ({answer.largest_shift:+.1%} at most, "
        f"chi-square {answer.chi_square:.1f}), the reference network takes {answer.speed:.3f} "
        f"times what it took, by {len(answer.canaries)} files"
    )


def _noise_of(layout: Layout, device: str) -> float:
    from ofa_pipeline.documents import FittedLatency, read_document

    path = layout.latency(device) / Layout.LATENCY_MODEL
    remake = f"ofa-pipeline stage profile_latency --item {device}"
    return read_document(path, FittedLatency, remake=remake).report.noise.cv


def _mark_stale(layout: Layout, params: "Params", device: str, drift: "Drift") -> list[str]:
    """Mark every version of the device's registered models that is not marked yet."""
    from ofa_pipeline.registry import STALE_TAG, open_registry, registered_subnets

    registry = open_registry(layout.root)
    names = {item.record.model_name for item in registered_subnets(layout, params, device)}
    why = (
        f"on {datetime.now(UTC):%Y-%m-%d} {device} was another device than was certified: "
        f"{drift.intercept_ms:+.4g} ms + {drift.slope:.4g} times the certified latency, speed "
        f"{drift.speed:.3f}"
    )
    marked = []
    for subnet in registry.snapshot().subnets:
        if subnet.record.model_name in names and not registry.mark(subnet, STALE_TAG):
            registry.set_mark(subnet, STALE_TAG, why)
            marked.append(subnet.model_uri)
    return marked


def _answer(
    device: str, canaries: "tuple[Canary, ...]", drift: "Drift", stale: list[str]
) -> "Recertification":
    from ofa_pipeline.documents import CanaryFigures, Recertification

    return Recertification(
        device=device,
        canaries=tuple(
            CanaryFigures(
                name=canary.name,
                certified_ms=canary.certified.p50_ms,
                measured_ms=canary.measured.p50_ms,
                is_contended=canary.measured.is_contended,
            )
            for canary in canaries
        ),
        slope=drift.slope,
        intercept_ms=drift.intercept_ms,
        largest_shift=drift.largest_shift,
        chi_square=drift.chi_square,
        speed=drift.speed,
        has_moved=drift.has_moved,
        stale=tuple(stale),
    )


def _show(answer: "Recertification") -> None:
    for canary in answer.canaries:
        rough = " (the machine was not quiet)" if canary.is_contended else ""
        stdout.print(
            f"{canary.name}: certified {canary.certified_ms:.4g} ms, now {canary.measured_ms:.4g} "
            f"ms{rough}",
            **PLAIN,
        )
    stdout.print(drift_text(answer), **PLAIN)
    if answer.stale:
        stdout.print(f"{len(answer.stale)} versions are marked as stale", **PLAIN)
