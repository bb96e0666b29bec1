"""Draw the pictures of docs/guides/devices.md from a workspace in which profiles lie.

``--workspace`` holds ``artifacts/latency/DEVICE``; each device is a panel or a line. ``--output``
is the folder of the pictures: devices-residuals.png, devices-learning.png and devices-noise.png.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import FittedLatency, read_document
from ofa_pipeline.tables import LATENCY_SCHEMA, read_table

INK, ACCENT, SECOND, PALE, GRID = "#1f2937", "#c2410c", "#1f5fbf", "#9ca3af", "#e5e7eb"
REMAKE = "ofa-pipeline device profile DEVICE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a device was found to be."""

    device: str
    rows: Sequence[Mapping[str, Any]]
    """Of its table of measurements."""
    fitted: FittedLatency


def main() -> None:
    """Read the options and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    profiles = load_profiles(Layout(options.workspace))
    pictures = {"residuals": draw_residuals, "learning": draw_learning, "noise": draw_noise}
    for name, draw in pictures.items():
        path = options.output / f"devices-{name}.png"
        draw(profiles).savefig(path, pil_kwargs={"optimize": True})


def load_profiles(layout: Layout) -> list[Profile]:
    """Return the profiles of a workspace, in the order of their devices' names."""
    folders = sorted(path for path in (layout.artifacts / "latency").iterdir() if path.is_dir())
    return [
        Profile(
            device=folder.name,
            rows=read_table(folder / Layout.LATENCIES, LATENCY_SCHEMA).to_pylist(),
            fitted=read_document(folder / Layout.LATENCY_MODEL, FittedLatency, remake=REMAKE),
        )
        for folder in folders
    ]


def draw_residuals(profiles: Sequence[Profile]) -> Figure:
    """Draw how far estimates are off, over the measured latency; a panel a device."""
    figure, panels = _figure(len(profiles))
    for axes, profile in zip(panels, profiles, strict=True):
        interval = profile.fitted.model.interval
        if interval is not None:
            axes.axhspan(
                -100 * interval.high / (1 + interval.high),
                -100 * interval.low / (1 + interval.low),
                color=ACCENT,
                alpha=0.12,
                linewidth=0,
                label=f"where {100 * interval.coverage:.0f} % of estimates are to be",
            )
        axes.axhline(0, color=PALE, linewidth=1)
        for role, label, face, edge in (
            ("fit", "fitted to", PALE, PALE),
            ("holdout", "held out", "none", ACCENT),
        ):
            chosen = [row for row in profile.rows if row["role"] == role]
            measured = np.array([row["p50_ms"] for row in chosen])
            estimated = np.array([row["latency_ms_estimated"] for row in chosen])
            off = 100 * (estimated / measured - 1)
            axes.scatter(measured, off, s=24, facecolor=face, edgecolor=edge, label=label)
        axes.set_title(profile.device, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("measured latency (ms)")
    panels[0].set_ylabel("estimate over measurement (%)")
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def draw_learning(profiles: Sequence[Profile]) -> Figure:
    """Draw the error on held-out subnets by number of fitted ones, beside the noise.

    Raises:
        SystemExit: If no profile has a learning curve, as those of format 1.
    """
    if all(profile.fitted.report.selection is None for profile in profiles):
        raise SystemExit(f"no profile has a learning curve. Profile again: {REMAKE} --again")
    figure, [axes] = _figure(1)
    for profile, color in zip(profiles, (ACCENT, SECOND), strict=False):
        report = profile.fitted.report
        if report.selection is None:
            continue
        points = report.selection.learning_curve
        counts = [point.num_subnets for point in points]
        errors = [100 * point.mape for point in points]
        axes.plot(counts, errors, "o-", color=color, markersize=4, label=profile.device)
        more = [counts[-1], counts[-1] + 20]
        expected = [errors[-1], 100 * report.selection.mape_with_20_more]
        axes.plot(more, expected, "--", color=color)
        axes.plot(*(values[1] for values in (more, expected)), "o", mfc="white", color=color, ms=4)
        noise = 100 * report.noise.cv
        axes.axhline(noise, color=color, linewidth=1, linestyle=":")
        axes.annotate(
            f"noise of {profile.device}",
            (sum(more) / 2, noise),
            ha="center",
            va="bottom",
            fontsize=8,
        )
    axes.set_ylim(bottom=0, top=1.1 * axes.get_ylim()[1])
    axes.set_xlabel("subnets that the model is fitted to")
    axes.set_ylabel("mean error, held-out subnets (%)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def draw_noise(profiles: Sequence[Profile]) -> Figure:
    """Draw repeated measurements of the same subnets over their mean; a panel a device."""
    figure, panels = _figure(len(profiles))
    for axes, profile in zip(panels, profiles, strict=True):
        groups = repeated(profile.rows)
        for place, rows in enumerate(groups.values()):
            p50 = np.array([row["p50_ms"] for row in rows])
            ends = np.array([[row["ci_low_ms"], row["ci_high_ms"]] for row in rows]).T
            relative = 100 * (p50 / p50.mean() - 1)
            errors = 100 * np.abs(ends - p50) / p50.mean()
            where = place + np.linspace(-0.15, 0.15, len(rows))
            axes.errorbar(
                where, relative, yerr=errors, fmt="o", color=ACCENT, markersize=4, linewidth=1
            )
        cv = 100 * profile.fitted.report.noise.cv
        axes.axhspan(-cv, cv, color=PALE, alpha=0.2, linewidth=0)
        axes.axhline(0, color=PALE, linewidth=1)
        names = [f"{np.mean([row['p50_ms'] for row in rows]):.3g} ms" for rows in groups.values()]
        axes.set_xticks(range(len(groups)), names)
        axes.set_title(
            f"{profile.device}: repeats to {cv:.1f} %", loc="left", fontsize=10, color=INK
        )
        axes.set_xlabel("the subnet, by its mean latency")
    panels[0].set_ylabel("measurement over their mean (%)")
    return figure


def repeated(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the measurements of each subnet that was measured again, the fastest subnet first."""
    again = {row["arch_id"] for row in rows if row["role"] == "repeat"}
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: float(row["p50_ms"])):
        if row["arch_id"] in again and row["role"] in ("fit", "repeat"):
            groups[row["arch_id"]].append(row)
    return groups


def _figure(num_panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(7, 3.2), dpi=110, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, num_panels)).tolist()
    for axes in panels:
        axes.grid(visible=True, color=GRID)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
    return figure, panels


if __name__ == "__main__":
    main()
