"""Are verified picks at least as accurate as the best of many random subnets in the budget?

On a workspace whose pipeline ran up to ``profile_latency``. One JSON object a seed and budget:

    python benchmarks/picks_against_random.py --workspace . --device cpu-onnxruntime --seeds 5

Both are evaluated alike, on selection images. Random subnets count as within the budget by the
latency model, which is generous to them; picks are measured.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from threadpoolctl import threadpool_limits

from ofa_pipeline.arch import Genes, SearchSpace
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.compute import LocalExecutor
from ofa_pipeline.evaluation import AccuracyBench
from ofa_pipeline.latency import LatencyProfile, load_latency_profile
from ofa_pipeline.measuring import MeasurementLog
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.predictor import load_label_noise
from ofa_pipeline.search import (
    MeasuredWorld,
    VerifiedSearch,
    evolution_settings,
    load_knowledge,
    predict_verify_refit,
    verify_settings,
)
from ofa_pipeline.training import deterministic


@dataclass(frozen=True)
class Bench:
    """What is searched and measured on one device, and what was measured so far."""

    layout: Layout
    params: Params
    device: str
    log: MeasurementLog

    @cached_property
    def accuracy(self) -> AccuracyBench:
        """What evaluates subnets of the supernet."""
        return AccuracyBench(
            self.layout.dataset,
            self.layout.supernet_weights(self.params.final_phase),
            calibration_images=self.params.evaluation.calibration_images,
            batch_size=self.params.evaluation.batch_size,
        )

    @cached_property
    def profile(self) -> LatencyProfile:
        """Latency profile of the device."""
        return load_latency_profile(self.layout.latency(self.device))

    @cached_property
    def world(self) -> MeasuredWorld:
        """Remembers what it measured for an earlier seed."""
        latency = self.params.latency
        return MeasuredWorld(
            self.accuracy,
            lambda: self.profile.open_device(
                self.params.device(self.device).card,
                self.space,
                warmup_runs=latency.warmup_runs,
                timed_runs=latency.timed_runs,
            ),
            log=self.log,
            executor=LocalExecutor(),
        )

    @property
    def space(self) -> SearchSpace:
        """Search space of the supernet."""
        return self.accuracy.evaluator.supernet.space

    @property
    def budgets_ms(self) -> tuple[float, ...]:
        """Ascending."""
        device = self.params.device(self.device)
        return self.profile.budgets_ms(device.budgets_ms, device.budget_fractions)


def main() -> None:
    """Read the options and print one JSON object a line."""
    options = _options()
    params = load_params(options.workspace / "params.yaml")
    layout = Layout(options.workspace.resolve())
    with (
        TemporaryDirectory() as folder,
        deterministic(threads=params.evaluation.threads),
        threadpool_limits(limits=1, user_api="blas"),
    ):
        log = MeasurementLog(Path(folder) / "measured.jsonl")
        bench = Bench(layout, params, options.device, log)
        chance = {
            budget: max(bench.world.evaluate(bench.space.archs(genes), label="random"))
            for budget, genes in _random_within(bench, options.random).items()
        }
        for seed in range(options.seeds):
            start = time.perf_counter()
            result = _search(bench, seed)
            seconds = time.perf_counter() - start
            for pick in result.picks:
                line = {
                    "budget_ms": pick.budget_ms,
                    "seed": seed,
                    "accuracy": pick.subnet.accuracy_top1,
                    "latency_ms": pick.subnet.latency.p50_ms,
                    "best_of_random": chance[pick.budget_ms],
                    "num_random": options.random,
                    "is_at_least_as_good": pick.subnet.accuracy_top1 >= chance[pick.budget_ms],
                    "num_verified": len(result.verified),
                    "seconds": seconds,
                }
                print(json.dumps(line), flush=True)


def _search(bench: Bench, seed: int) -> VerifiedSearch:
    layout, search = bench.layout, bench.params.search
    return predict_verify_refit(
        load_knowledge(
            bench.space, bench.profile, predictor=layout.predictor, accuracy=layout.accuracy
        ),
        bench.world,
        budgets_ms=bench.budgets_ms,
        settings=verify_settings(
            search,
            accuracy_noise=load_label_noise(layout.accuracy).std,
            interval=bench.profile.model.interval,
        ),
        search=replace(evolution_settings(search), seed=seed),
    )


def _random_within(bench: Bench, count: int) -> dict[float, Genes]:
    """Draw random subnets within each budget by the latency model."""
    rng = np.random.default_rng(0)
    drawn = bench.space.sample(rng, 200 * count)
    latency_ms = bench.profile.model.predict(bench.space, drawn)
    return {budget: drawn[latency_ms <= budget][:count] for budget in bench.budgets_ms}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--device", required=True)
    parser.add_argument("--random", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
