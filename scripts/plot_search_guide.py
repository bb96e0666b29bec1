"""Draw the pictures of docs/guides/search.md from what the benchmarks printed.

Options: ``--official`` lines of search_official.py, ``--replay`` lines of
accuracy_predictor.py --replay (each picture only where its lines are given), ``--output`` the
folder of the pictures.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, ACCENT, PALE, GRID = "#1f2937", "#c2410c", "#9ca3af", "#e5e7eb"


def main() -> None:
    """Read the options and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.official:
        draw_official(_lines(options.official), options.output / "search-official.png")
    if options.replay:
        draw_replay(_lines(options.replay), options.output / "search-replay.png")


def draw_official(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy by budget, median and range of the seeds, with the reference's evolution."""
    figure, axes = _figure()
    kinds = {"ours": (ACCENT, False), "the reference's evolution": (PALE, True)}
    for name, (color, is_reference) in kinds.items():
        groups: dict[float, list[float]] = defaultdict(list)
        for line in lines:
            if line.get("reference", False) == is_reference:
                groups[line["budget_ms"]].append(100 * line["accuracy"])
        if groups:
            budgets = sorted(groups)
            axes.fill_between(
                budgets,
                [min(groups[b]) for b in budgets],
                [max(groups[b]) for b in budgets],
                color=color,
                alpha=0.25,
                linewidth=0,
            )
            medians = [float(np.median(groups[b])) for b in budgets]
            axes.plot(budgets, medians, "o-", color=color, markersize=4, label=name)
    axes.set_xlabel("budget: latency on a Note10 by the published table (ms)")
    axes.set_ylabel("predicted top-1 (%)")
    axes.legend(frameon=False)
    figure.savefig(path)


def draw_replay(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw the regret by number of real evaluations, one thin line a seed."""
    figure, axes = _figure()
    groups: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        groups[line["evaluations"]].append(line["regret_points"])
    counts = sorted(groups)
    for count in counts:
        axes.plot([count] * len(groups[count]), groups[count], ".", color=PALE)
    axes.plot(counts, [float(np.mean(groups[c])) for c in counts], "o-", color=ACCENT)
    axes.set_xlabel("subnets evaluated for real")
    axes.set_ylabel("regret (points of top-1)")
    axes.set_ylim(bottom=0)
    figure.savefig(path)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 3.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, color=GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    return figure, axes


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
