"""``ofa-pipeline search``: from saved estimates to a front, without a supernet or data."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import write_json
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.reference.offline.picture import draw_front
from ofa_pipeline.reference.offline.sources import load_estimates
from ofa_pipeline.search.evolution import BRIEF, EvolutionSettings
from ofa_pipeline.search.front import BudgetFinding, Estimates
from ofa_pipeline.search.guided import GuidedResult, search_guided
from ofa_pipeline.search.population import Scored
from ofa_pipeline.tables import FRONT_SCHEMA, arch_columns, write_table

_NUM_CLASSES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineRequest:
    """What the command was asked for."""

    space_id: str
    accuracy: Path
    """See `ofa_pipeline.reference.offline.sources.load_estimates`."""
    latency: Path
    budgets_ms: Sequence[float]
    """In any order, repeats allowed."""
    output: Path
    """Folder for ``front.parquet``, ``front.png`` and ``picks.json``."""
    latency_column: str | None = None
    seed: int = 0
    settings: EvolutionSettings | None = None
    """How long and how broadly; chosen by what an estimate costs when left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePick:
    """One row of the table that the command prints."""

    budget_ms: float
    arch: Arch
    accuracy_top1_estimated: float
    accuracy_std_estimated: float
    latency_ms_estimated: float
    macs: int
    num_params: int
    price_points_per_ms: float
    runner_up: Arch | None
    runner_up_accuracy_top1_estimated: float | None
    gap_points: float | None
    """Provable distance to the best possible, at most; None where nothing can be proved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineResult:
    """What the command found and wrote."""

    picks: tuple[OfflinePick, ...]
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


def _picks(estimates: Estimates, guided: GuidedResult) -> tuple[OfflinePick, ...]:
    findings = guided.result.findings
    gaps: Sequence[float | None] = guided.gaps or [None] * len(findings)
    return tuple(
        _pick(estimates, finding, gap) for finding, gap in zip(findings, gaps, strict=True)
    )


def _pick(estimates: Estimates, finding: BudgetFinding, gap: float | None) -> OfflinePick:
    space, best, second = estimates.space, finding.best, finding.runner_up
    mean, std = estimates.accuracy(best.genes)
    cost = estimate_cost(space, best.genes, num_classes=_NUM_CLASSES)
    return OfflinePick(
        budget_ms=finding.budget,
        arch=space.archs(best.genes)[0],
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
    estimates: Estimates, guided: GuidedResult, picks: Sequence[OfflinePick], output: Path
) -> tuple[Path, ...]:
    files = tuple(output / name for name in ("front.parquet", "front.png", "picks.json"))
    front = guided.result.front
    write_table(files[0], FRONT_SCHEMA, _front_columns(estimates, front))
    budgets = [(pick.budget_ms, pick.accuracy_top1_estimated) for pick in picks]
    draw_front(front.costs[:, 0], front.gain, budgets=budgets, path=files[1])
    write_json(files[2], {"picks": [_plain(pick) for pick in picks]})
    return files


def _front_columns(estimates: Estimates, front: Scored) -> dict[str, Any]:
    space: SearchSpace = estimates.space
    mean, std = estimates.accuracy(front.genes)
    cost = estimate_cost(space, front.genes, num_classes=_NUM_CLASSES)
    return {
        **arch_columns(space.archs(front.genes), macs=cost.macs, num_params=cost.num_params),
        "accuracy_top1_estimated": np.asarray(mean),
        "accuracy_std_estimated": np.asarray(std),
        "latency_ms_estimated": front.costs[:, 0],
    }


def _plain(pick: OfflinePick) -> dict[str, Any]:
    return {
        "budget_ms": pick.budget_ms,
        "arch_id": pick.arch.arch_id,
        "arch": pick.arch.to_dict(),
        "accuracy_top1_estimated": pick.accuracy_top1_estimated,
        "accuracy_std_estimated": pick.accuracy_std_estimated,
        "latency_ms_estimated": pick.latency_ms_estimated,
        "macs": pick.macs,
        "num_params": pick.num_params,
        "price_points_per_ms": pick.price_points_per_ms,
        "runner_up": pick.runner_up.to_dict() if pick.runner_up else None,
        "runner_up_accuracy_top1_estimated": pick.runner_up_accuracy_top1_estimated,
        "gap_points": pick.gap_points,
    }
