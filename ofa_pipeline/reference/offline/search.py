"""``ofa-pipeline search``: from saved estimates to a front, without a supernet or data."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.reference.offline.picks import EstimatedPick, EstimatedPicks
from ofa_pipeline.reference.offline.picture import draw_front
from ofa_pipeline.reference.offline.sources import load_estimates
from ofa_pipeline.search import (
    BRIEF,
    BudgetFinding,
    Estimates,
    EvolutionSettings,
    GuidedResult,
    Scored,
    search_guided,
)
from ofa_pipeline.tables import FRONT_SCHEMA, arch_columns, write_table

_NUM_CLASSES = 1000
PICKS_FILE = "estimated_picks.json"
"""`EstimatedPicks` in the folder of the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineRequest:
    """The inputs and settings of a search."""

    space_id: str
    accuracy: Path
    """A predictor or a table of accuracies, as `load_estimates` reads them."""
    latency: Path
    """A latency model or a table of latencies, as `load_estimates` reads them."""
    budgets_ms: Sequence[float]
    """Upper limits of the latency, in any order; repeats are allowed."""
    output: Path
    """Folder for ``front.parquet``, ``front.svg`` and ``estimated_picks.json``."""
    latency_column: str | None = None
    """Column of the latencies in a table, see `load_estimates`."""
    seed: int = 0
    settings: EvolutionSettings | None = None
    """How long and how broadly; chosen by what an estimate costs when left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineResult:
    """The picks, how good the front is, and the files that were written."""

    picks: tuple[EstimatedPick, ...]
    num_efficient: int
    hypervolume: float
    duration_s: float
    files: tuple[Path, ...]


def search_offline(request: OfflineRequest, *, reporter: Reporter = SILENT) -> OfflineResult:
    """Search the front of saved estimates and write it as a table and as a picture.

    Raises:
        InfeasibleConstraintError: If a budget is below the fastest subnet, whose latency is named.
        ParamsError: If a file or a budget cannot be used.
        ArchError: If the predictor is of another space.
    """
    start = time.perf_counter()
    estimates = load_estimates(
        request.space_id,
        accuracy=request.accuracy,
        latency=request.latency,
        latency_column=request.latency_column,
        seed=request.seed,
    )
    guided = search_guided(
        estimates,
        budgets_ms=request.budgets_ms,
        settings=_settings(request, estimates),
        reporter=reporter,
    )
    picks = _picks(estimates, guided)
    files = _write(estimates, guided, picks, request.output)
    return OfflineResult(
        picks=picks,
        num_efficient=len(guided.result.front),
        hypervolume=guided.result.hypervolume,
        duration_s=time.perf_counter() - start,
        files=files,
    )


def _settings(request: OfflineRequest, estimates: Estimates) -> EvolutionSettings:
    if request.settings:
        return request.settings
    return replace(BRIEF if estimates.is_costly else EvolutionSettings(), seed=request.seed)


def _picks(estimates: Estimates, guided: GuidedResult) -> tuple[EstimatedPick, ...]:
    findings = guided.result.findings
    gaps: Sequence[float | None] = guided.gaps or [None] * len(findings)
    return tuple(
        _pick(estimates, finding, gap) for finding, gap in zip(findings, gaps, strict=True)
    )


def _pick(estimates: Estimates, finding: BudgetFinding, gap: float | None) -> EstimatedPick:
    space, best, second = estimates.space, finding.best, finding.runner_up
    mean, std = estimates.accuracy(best.genes)
    cost = estimate_cost(space, best.genes, num_classes=_NUM_CLASSES)
    arch = space.archs(best.genes)[0]
    return EstimatedPick(
        budget_ms=finding.budget,
        arch_id=arch.arch_id,
        arch=arch,
        accuracy_top1_estimated=float(mean[0]),
        accuracy_std_estimated=float(std[0]),
        latency_ms_estimated=float(best.costs[0, 0]),
        macs=int(cost.macs[0]),
        num_params=int(cost.num_params[0]),
        price_points_per_ms=100 * finding.price,
        runner_up=space.archs(second.genes)[0] if second else None,
        runner_up_accuracy_top1_estimated=float(second.gain[0]) if second else None,
        gap_points=None if gap is None else 100 * gap,
    )


def _write(
    estimates: Estimates, guided: GuidedResult, picks: Sequence[EstimatedPick], output: Path
) -> tuple[Path, ...]:
    files = (output / Layout.FRONT, output / "front.svg", output / PICKS_FILE)
    front = guided.result.front
    write_table(files[0], FRONT_SCHEMA, _front_columns(estimates, front))
    budgets = [(pick.budget_ms, pick.accuracy_top1_estimated) for pick in picks]
    draw_front(front.costs[:, 0], front.gain, budgets=budgets, path=files[1])
    write_json(files[2], EstimatedPicks(picks=tuple(picks)).to_dict())
    return files


def _front_columns(estimates: Estimates, front: Scored) -> dict[str, Any]:
    space = estimates.space
    mean, std = estimates.accuracy(front.genes)
    cost = estimate_cost(space, front.genes, num_classes=_NUM_CLASSES)
    return {
        **arch_columns(space.archs(front.genes), macs=cost.macs, num_params=cost.num_params),
        "accuracy_top1_estimated": np.asarray(mean),
        "accuracy_std_estimated": np.asarray(std),
        "latency_ms_estimated": front.costs[:, 0],
    }
