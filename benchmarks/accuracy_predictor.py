"""How far accuracy predictors can be trusted, on real measurements of subnets.

Trains on N random subnets of a table, predicts the others. One JSON object a seed:

    python benchmarks/accuracy_predictor.py --table imagenet_top1.parquet --train 100 --seeds 10

With ``--replay`` it replays the whole sequence instead: measure 50, then again and again propose
25 from the pool (half predicted best, half uncertain, over six MACs budgets), look their accuracy
up, refit. One JSON object for each number of evaluations and seed.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray, IntArray
from ofa_pipeline.predictor import build_predictor, kendall_tau
from ofa_pipeline.predictor.metrics import cost_budgets, regret, top_decile_tau
from ofa_pipeline.reference.offline import MeasuredTable, read_measured_table
from ofa_pipeline.search.acquisition import propose
from ofa_pipeline.spaces import reference_space

FIRST, STEP = 50, 25
REPLAYED = (75, 100, 125, 150, 200)


def main() -> None:
    """Read the options and print one JSON object a line."""
    options = _options()
    table = read_measured_table(options.table, reference_space(options.space))
    for seed in range(options.seeds):
        lines = (
            replay(table, kind=options.kind, seed=seed)
            if options.replay
            else [score(table, kind=options.kind, train=options.train, seed=seed)]
        )
        for line in lines:
            print(json.dumps(line), flush=True)


def score(table: MeasuredTable, *, kind: str, train: int, seed: int) -> dict[str, object]:
    """Fit on some subnets and compare the predictions of all others with their measurements."""
    start = time.perf_counter()
    order = np.random.default_rng(seed).permutation(len(table.genes))
    learned, held_out = order[:train], order[train:]
    predictor = build_predictor(table.space, kind, seed=seed)
    predictor.fit(table.genes[learned], table.accuracy[learned])
    mean, std = predictor.predict(table.genes[held_out])
    measured, macs = table.accuracy[held_out], table.macs[held_out]
    top = np.argsort(-mean)[: max(1, len(mean) // 10)]
    return {
        "train": train,
        "seed": seed,
        "rmse_points": 100 * float(np.sqrt(((mean - measured) ** 2).mean())),
        "tau": kendall_tau(mean, measured),
        "tau_top_decile": top_decile_tau(mean, measured),
        "regret_points": {str(k): 100 * mean_regret(measured, mean, macs, k=k) for k in (1, 5, 10)},
        "coverage_90": float((np.abs(mean - measured) <= 1.645 * std).mean()),
        "optimism_points": 100 * float((mean[top] - measured[top]).mean()),
        "label_noise_points": 100 * table.label_noise,
        "kind": kind,
        "held_out": len(held_out),
        "seconds": time.perf_counter() - start,
    }


def mean_regret(measured: FloatArray, predicted: FloatArray, macs: FloatArray, *, k: int) -> float:
    """Return the regret after verifying k a budget, mean over six MACs budgets."""
    return float(
        np.mean([regret(measured, predicted, feasible=macs <= b, k=k) for b in cost_budgets(macs)])
    )


@dataclass
class Sequence:
    """A replayed sequence of measurements."""

    table: MeasuredTable
    budgets: FloatArray
    is_known: BoolArray

    def regret(self) -> float:
        """Return what the best known subnet of each budget lacks, mean over budgets."""
        lacking = []
        for budget in self.budgets:
            within = self.table.macs <= budget
            best = self.table.accuracy[within].max()
            known = within & self.is_known
            found = self.table.accuracy[known].max() if known.any() else 0.0
            lacking.append(best - found)
        return float(np.mean(lacking))


def replay(table: MeasuredTable, *, kind: str, seed: int) -> Iterator[dict[str, object]]:
    """Measure, fit, propose, measure, ... with answers from the table."""
    start = time.perf_counter()
    rng = np.random.default_rng(seed)
    is_known = np.zeros(len(table.genes), dtype=bool)
    is_known[rng.permutation(len(table.genes))[:FIRST]] = True
    sequence = Sequence(table, cost_budgets(table.macs), is_known)
    while is_known.sum() < REPLAYED[-1]:
        is_known[_next(sequence, kind=kind, seed=seed)] = True
        count = int(is_known.sum())
        if count in REPLAYED:
            yield {
                "evaluations": count,
                "seed": seed,
                "regret_points": 100 * sequence.regret(),
                "kind": kind,
                "seconds": time.perf_counter() - start,
            }


def _next(sequence: Sequence, *, kind: str, seed: int) -> IntArray:
    table, known = sequence.table, sequence.is_known
    predictor = build_predictor(table.space, kind, seed=seed)
    predictor.fit(table.genes[known], table.accuracy[known])
    mean, std = predictor.predict(table.genes)
    within = table.macs[:, None] <= sequence.budgets[None]
    return propose(mean, std, within=within, is_taken=known, count=STEP)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--kind", default="gaussian_process")
    parser.add_argument("--space", default="ofa_mbv3_d234_e346_k357_w1.0")
    return parser.parse_args()


if __name__ == "__main__":
    main()
