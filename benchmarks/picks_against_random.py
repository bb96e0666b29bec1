"""Are verified picks at least as accurate as the best of many random subnets in the budget?

On a workspace whose pipeline ran up to ``profile_latency``. One JSON object a seed and budget:

    python benchmarks/picks_against_random.py --workspace . --device cpu-onnxruntime --seeds 5

Both are evaluated alike, on selection images. Random subnets count as within the budget by the
latency model, which is generous to them; picks are measured.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ofa_pipeline.arch import Genes
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.params import load_params
from ofa_pipeline.search import RealWorld, VerifiedSearch, predict_verify_refit
from ofa_pipeline.stages import StageContext
from ofa_pipeline.stages.search import SearchJob
from ofa_pipeline.training import deterministic


def main() -> None:
    """Read the options and print one JSON object a line."""
    options = _options()
    params = load_params(options.workspace / "params.yaml")
    layout = Layout(options.workspace.resolve())
    job = SearchJob(StageContext(layout=layout, params=params, item=options.device))
    with (
        deterministic(threads=params.evaluation.threads),
        threadpool_limits(limits=1, user_api="blas"),
    ):
        chance = {
            budget: max(job.evaluate(arch) for arch in job.space.archs(genes))
            for budget, genes in _random_within(job, options.random).items()
        }
        for seed in range(options.seeds):
            start = time.perf_counter()
            result = _search(job, seed)
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


def _search(job: SearchJob, seed: int) -> VerifiedSearch:
    return predict_verify_refit(
        job.knowledge(),
        RealWorld(job.evaluate, job.measure),
        budgets_ms=job.budgets_ms(),
        settings=job.verify_settings(),
        search=replace(job.evolution_settings(), seed=seed),
    )


def _random_within(job: SearchJob, count: int) -> dict[float, Genes]:
    """Draw random subnets within each budget by the latency model."""
    rng = np.random.default_rng(0)
    drawn = job.space.sample(rng, 200 * count)
    latency_ms = job.profile.model.predict(job.space, drawn)
    return {budget: drawn[latency_ms <= budget][:count] for budget in job.budgets_ms()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--device", required=True)
    parser.add_argument("--random", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
