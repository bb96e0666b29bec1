"""What `ofa-pipeline device profile` shows: what a device is, and how good its model is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.hints import command
from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.output import PLAIN, stdout
from ofa_pipeline.documents import DeviceProfile, FittedLatency, LatencyReport, read_document


def show_profiles(root: Path, devices: Sequence[str]) -> None:
    """Print what is known of some devices that are profiled, and what to do next.

    Args:
        root: The workspace.
        devices: Their names.

    Raises:
        OfaPipelineError: If a profile is not there, or no profile.
    """
    for device in devices:
        folder = Layout(root).latency(device)
        remake = f"ofa-pipeline device profile {device}"
        profile = read_document(folder / Layout.DEVICE_PROFILE, DeviceProfile, remake=remake)
        fitted = read_document(folder / Layout.LATENCY_MODEL, FittedLatency, remake=remake)
        table = Table(title=device, title_justify="left", show_header=False, box=None)
        for name, text in rows(profile, fitted):
            table.add_row(name, text)
        print_table(table, stdout)
        stdout.print(f"figures: {folder / Layout.LATENCY_MODEL}", **PLAIN)
        stdout.print(f"Next: {command('run', '--device', device)}", **PLAIN)


def rows(profile: DeviceProfile, fitted: FittedLatency) -> Iterator[tuple[str, str]]:
    """Yield what is said of a profile: a name and a text each."""
    card, model, report = profile.device, fitted.model, fitted.report
    yield (
        "device",
        f"{card.hardware}, {card.runtime} {card.runtime_version} {card.precision}, "
        f"threads: {card.threads}, batch: {card.batch_size}",
    )
    yield (
        "latency",
        f"{profile.smallest_ms:.3g} ms (smallest subnet) to {profile.largest_ms:.3g} ms (largest)",
    )
    yield "noise", f"measurements of a subnet repeat to {report.noise.cv:.1%}; {_busy(report)}"
    yield "model", f"{model.form}, fitted to {report.fit.num_subnets} subnets"
    held = report.holdout
    median = "" if held.median_error is None else f", median {held.median_error:.1%}"
    yield (
        "error",
        f"mean {held.mape:.1%}{median}, largest {held.max_error:.1%}, on {held.num_subnets} others",
    )
    yield (
        "within 5 and 10 %",
        f"{held.share_within_5_percent:.0%} and {held.share_within_10_percent:.0%} of them",
    )
    spearman = "" if held.spearman_rho is None else f", Spearman's rho {held.spearman_rho:.3f}"
    yield "order", f"Kendall's tau {held.kendall_tau:.3f}{spearman}"
    if (interval := model.interval) is not None:
        yield (
            "interval",
            f"{interval.low:+.1%} to {interval.high:+.1%} around an estimate, for "
            f"{interval.coverage:.0%} of subnets; it held {held.coverage or 0:.0%} of the others",
        )
    yield from _selection_rows(report)


def _selection_rows(report: LatencyReport) -> Iterator[tuple[str, str]]:
    if (selection := report.selection) is None:
        return
    if selection.outliers:
        yield "set aside", f"as outliers: {', '.join(selection.outliers)}"
    if selection.share_launch_bound:
        yield (
            "launch-bound",
            f"{selection.share_launch_bound:.0%} of the fitted subnets: smaller ones are no faster",
        )
    yield (
        "20 subnets more",
        f"would bring the mean error to about {selection.mape_with_20_more:.1%}",
    )


def _busy(report: LatencyReport) -> str:
    if report.noise.num_contended:
        return (
            f"the machine was hardly ever quiet during {report.noise.num_contended} of them: "
            "when it is, profile again with --again"
        )
    return "the machine was quiet"
