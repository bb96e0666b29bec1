"""Our sampler against Optuna's at equal numbers of verified subnets, on a saved table.

The truth is a perceptron ensemble, fitted to all measured accuracies of a workspace, and its
latency model; a search knows half of the measured subnets and the latency model. Each sampler
verifies as many subnets in as many rounds. One JSON object a sampler, budget and seed:

    python benchmarks/samplers.py --workspace . --device cpu-onnxruntime [--seeds 5]
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ofa_pipeline.arch import Arch, FloatArray, Genes
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.latency import LatencyProfile, load_latency_profile
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.predictor import (
    LabeledSubnets,
    StorablePredictor,
    build_predictor,
    load_compared_subnets,
)
from ofa_pipeline.search import (
    EvolutionSettings,
    Knowledge,
    predict_verify_refit,
    verify_settings,
)
from ofa_pipeline.search.samplers import build_sampler, sampler_names

_NEVER_STABLE = -1.0  # so that every search takes all its rounds


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency without noise."""

    p50_ms: float
    ci_high_ms: float


@dataclass(frozen=True, slots=True)
class Truth:
    """What every sampler is measured by."""

    accuracy: StorablePredictor
    profile: LatencyProfile

    def latency_ms(self, genes: Genes) -> FloatArray:
        """Return milliseconds by the latency model."""
        return self.profile.model.predict(self.accuracy.space, genes)

    def evaluate(self, archs: Sequence[Arch], *, label: str) -> list[float]:
        """Return the accuracy of each subnet, a fraction; see `RealWorld`."""
        del label
        mean: list[float] = self.accuracy.predict(self.accuracy.space.genes(archs))[0].tolist()
        return mean

    def measure(self, archs: Sequence[Arch], *, label: str) -> list[Latency]:
        """Return the latency of each subnet; see `RealWorld`."""
        del label
        return [Latency(ms, ms) for ms in self.latency_ms(self.accuracy.space.genes(archs))]


def main() -> None:
    """Read the options and print one JSON object a line."""
    options = _options()
    params = load_params(options.workspace / "params.yaml")
    layout = Layout(options.workspace.resolve())
    space = params.space.build()
    with threadpool_limits(limits=1):
        subnets, _ = load_compared_subnets(layout.accuracy, space)
        oracle = build_predictor(space, "mlp_ensemble", seed=0)
        oracle.fit(subnets.genes, subnets.accuracy)
        truth = Truth(oracle, load_latency_profile(layout.latency(options.device)))
        for sampler in options.samplers.split(","):
            for seed in range(options.seeds):
                for line in search(
                    truth, subnets, params, sampler=sampler, seed=seed, options=options
                ):
                    print(json.dumps(line), flush=True)


def search(
    truth: Truth,
    subnets: LabeledSubnets,
    params: Params,
    *,
    sampler: str,
    seed: int,
    options: argparse.Namespace,
) -> Iterator[dict[str, object]]:
    """Search with a sampler; the known half differs from seed to seed."""
    half = np.random.default_rng(seed).permutation(len(subnets.genes))[::2]
    predictor = build_predictor(subnets.space, "gaussian_process", seed=seed)
    predictor.fit(subnets.genes[half], subnets.accuracy[half])
    device = params.device(options.device)
    start = time.process_time()
    result = predict_verify_refit(
        Knowledge(
            predictor=predictor,
            genes=subnets.genes[half],
            accuracy=subnets.accuracy[half],
            latency=truth.latency_ms,
        ),
        truth,
        budgets_ms=truth.profile.budgets_ms(device.budgets_ms, device.budget_fractions),
        settings=replace(
            verify_settings(
                params.search,
                accuracy_noise=_NEVER_STABLE,
                interval=truth.profile.model.interval,
            ),
            max_rounds=options.rounds,
            sampler=build_sampler(sampler),
        ),
        search=EvolutionSettings(
            population=params.search.population,
            generations=params.search.generations,
            islands=0,
            seed=seed,
        ),
    )
    for pick in result.picks:
        yield {
            "sampler": sampler,
            "seed": seed,
            "budget_ms": pick.budget_ms,
            "accuracy_top1": pick.subnet.accuracy_top1,
            "role": pick.subnet.role,
            "num_verified": len(result.verified),
            "cpu_seconds": time.process_time() - start,
        }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--device", default="cpu-onnxruntime")
    parser.add_argument("--samplers", default=",".join(sampler_names()))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
