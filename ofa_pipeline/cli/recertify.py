"""`ofa-pipeline recertify`: is a device still what it was certified to be?"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_pipeline.artifacts import Layout, write_artifact, write_json
from ofa_pipeline.cli.display import Display
from ofa_pipeline.cli.options import JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.errors import DeviceError, MachineBusyError
from ofa_pipeline.neighbors import busy_neighbors, neighbors_text
from ofa_pipeline.progress import Reporter
from ofa_pipeline.workspace import hold_stage

if TYPE_CHECKING:
    from ofa_pipeline.documents import CanaryFigures, Recertification
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

    What was measured is kept in artifacts/seconds/recertify, and the next report says how many are
    within their budgets. Where latencies moved beyond the noise, the registered versions of the
    device are marked as stale: their certificates say so, and aliases leave them. The flow
    re-certify then profiles the device anew and searches again. While a run holds the workspace,
    the command is refused; where the machine is too busy to tell, it ends with exit code 6.
    """
    from ofa_pipeline.params import load_params

    root = workspace.resolve()
    params, layout = load_params(root / "params.yaml"), Layout(root)
    check_is_here(params, device)
    # The digest of the bundles is taken first: what is measured is of these, and nobody else
    # changes them or measures meanwhile.
    with (
        hold_stage(root, address=f"recertify@{device}"),
        write_artifact(
            layout.recertified(device),
            stage="recertify",
            item=device,
            params={},
            inputs=[layout.subnets(device)],
        ) as writer,
    ):
        answer = _measure(layout, params, device)
        write_json(writer.folder / Layout.RECERTIFICATION, answer.to_dict())
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), indent=2))
    else:
        _show(answer)


def check_is_here(params: "Params", device: str) -> None:
    """Check that a device is this machine's.

    Raises:
        ParamsError: If params.yaml has no such device.
        DeviceError: If it is elsewhere.
    """
    location = params.device(device).card.location
    if location is not None:
        here = [name for name, item in params.devices.items() if item.card.location is None]
        raise DeviceError(
            "a device must be of this machine to be measured again, but the location of "
            f"{device} in params.yaml is {location}: its certificates stay what was measured "
            f"there. To have it measured, searched and certified anew: {_anew(device, location)}. "
            f"Of this machine are: {', '.join(here) or 'none'}."
        )


def _anew(device: str, location: str) -> str:
    """Return the commands that begin with a device elsewhere again."""
    if location == "away":
        return (
            f"ofa-pipeline device export {device} --to FOLDER --again ; python measure.py there ; "
            f"ofa-pipeline device import {device} FILE ; ofa-pipeline run --device {device}"
        )
    return f"ofa-pipeline device profile {device} --again ; ofa-pipeline run --device {device}"


def _measure(layout: Layout, params: "Params", device: str) -> "Recertification":
    """Measure the files of a device, and mark its versions where it has changed."""
    from ofa_pipeline.documents import Recertification
    from ofa_pipeline.specialize.canaries import measure_canaries

    with Display(stderr) as display:
        canaries = measure_canaries(
            layout,
            device,
            params.device(device).card,
            params.space.build(),
            timed_runs=params.latency.timed_runs,
            reporter=Reporter(lambda event: display.show(f"recertify {device}", event)),
        )
    measured_at = datetime.now(UTC).replace(microsecond=0)
    drift = _drift(layout, device, canaries)
    stale = _mark_stale(layout, params, device, drift) if drift.has_moved else []
    return Recertification(
        device=device,
        fingerprint=_fingerprint_of(layout, device),
        measured_at=measured_at,
        canaries=_figures(layout, device, canaries),
        slope=drift.slope,
        intercept_ms=drift.intercept_ms,
        largest_shift=drift.largest_shift,
        chi_square=drift.chi_square,
        speed=drift.speed,
        has_moved=drift.has_moved,
        stale=tuple(stale),
    )


def _drift(layout: Layout, device: str, canaries: "tuple[Canary, ...]") -> "Drift":
    """Compare what was measured with the certificates.

    Raises:
        MachineBusyError: If the machine was never quiet; it says who computes there.
    """
    from ofa_pipeline.latency import fit_drift

    try:
        return fit_drift(canaries, noise_cv=_noise_of(layout, device))
    except MachineBusyError as error:
        who = neighbors_text(busy_neighbors())
        again = f"Then measure again: ofa-pipeline recertify {device}"
        raise MachineBusyError(f"{error} {who} {again}") from error


def drift_text(answer: "Recertification") -> str:
    """Return in a line what was found."""
    state = "is another device than was certified" if answer.has_moved else "is as certified"
    return (
        f"{answer.device} {state}: latencies are {answer.intercept_ms:+.4g} ms + "
        f"{answer.slope:.4g} times the certified ones ({answer.largest_shift:+.1%} at most, "
        f"chi-square {answer.chi_square:.1f}), the reference network takes {answer.speed:.3f} "
        f"times what it took, by {answer.num_quiet} of {len(answer.canaries)} files"
    )


def _fingerprint_of(layout: Layout, device: str) -> str:
    from ofa_pipeline.documents import DeviceProfile, read_document

    path = layout.latency(device) / Layout.DEVICE_PROFILE
    remake = f"ofa-pipeline stage profile_latency --item {device}"
    return read_document(path, DeviceProfile, remake=remake).fingerprint


def _noise_of(layout: Layout, device: str) -> float:
    from ofa_pipeline.documents import FittedLatency, read_document

    path = layout.latency(device) / Layout.LATENCY_MODEL
    remake = f"ofa-pipeline stage profile_latency --item {device}"
    return read_document(path, FittedLatency, remake=remake).report.noise.cv


def _mark_stale(layout: Layout, params: "Params", device: str, drift: "Drift") -> list[str]:
    """Mark every version of the device's registered models that is not marked yet.

    Aliases leave what is stale for what is not, where there is something.
    """
    from ofa_pipeline.registry import STALE_TAG, Part, open_registry, registered_subnets

    registry = open_registry(layout.root)
    names = sorted({item.record.model_name for item in registered_subnets(layout, params, device)})
    why = (
        f"on {datetime.now(UTC):%Y-%m-%d} {device} was another device than was certified: "
        f"{drift.intercept_ms:+.4g} ms + {drift.slope:.4g} times the certified latency, speed "
        f"{drift.speed:.3f}"
    )
    marked = []
    for name in names:
        for subnet in registry.snapshot(Part(model_name=name)).subnets:
            if subnet.record.model_name == name and not registry.mark(subnet, STALE_TAG):
                registry.set_mark(subnet, STALE_TAG, why)
                marked.append(subnet.model_uri)
        registry.move_aliases(name)
    return marked


def _figures(
    layout: Layout, device: str, canaries: "tuple[Canary, ...]"
) -> "tuple[CanaryFigures, ...]":
    """Compare what was measured with the budgets that each file was picked for."""
    from ofa_pipeline.documents import (
        BudgetCertificate,
        BundleIndex,
        CanaryFigures,
        read_document,
    )

    path = layout.subnets(device) / Layout.BUNDLES
    index = read_document(path, BundleIndex, remake=f"ofa-pipeline run --device {device}")
    budgets_ms = {entry.name: entry.budgets_ms for entry in index.bundles}
    return tuple(
        CanaryFigures(
            name=canary.name,
            certified_ms=canary.certified.p50_ms,
            measured_ms=canary.measured.p50_ms,
            measured_p95_ms=canary.measured.p95_ms,
            ci_low_ms=canary.measured.ci_low_ms,
            ci_high_ms=canary.measured.ci_high_ms,
            num_runs=canary.measured.num_runs,
            is_contended=canary.measured.is_contended,
            budgets=tuple(
                BudgetCertificate(
                    budget_ms=budget_ms,
                    p50=canary.measured.verdict(budget_ms),
                    p95=canary.measured.verdict(budget_ms, quantile="p95"),
                )
                for budget_ms in budgets_ms[canary.name]
            ),
        )
        for canary in canaries
    )


def _show(answer: "Recertification") -> None:
    for canary in answer.canaries:
        rough = " (the machine was not quiet: does not count)" if canary.is_contended else ""
        stdout.print(
            f"{canary.name}: certified {canary.certified_ms:.4g} ms, now {canary.measured_ms:.4g} "
            f"ms{rough}",
            **PLAIN,
        )
    total = len(answer.canaries)
    stdout.print(
        f"within budget now: {answer.num_within('p50')} of {total} (p50), "
        f"{answer.num_within('p95')} of {total} (p95)",
        **PLAIN,
    )
    stdout.print(drift_text(answer), **PLAIN)
    if answer.stale:
        stdout.print(f"{len(answer.stale)} versions are marked as stale", **PLAIN)
