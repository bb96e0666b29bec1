"""Cost of the search by number of candidates, and against Optuna's NSGA-II on the same surrogate.

One JSON object a size, then one a method:

    python benchmarks/search_scaling.py [--sizes 1000,10000,100000,1000000] [--trials 2000]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import optuna

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.search import Estimates, EvolutionSettings, hypervolume, search_front
from ofa_pipeline.search.trial_params import arch_of, distributions
from ofa_pipeline.spaces import reference_space

POPULATION = 2000
REFERENCE_POINT = (-0.5, 1000.0)
BUDGETS = tuple(range(150, 650, 50))
"""Millions of MACs."""


def main() -> None:
    """Read the options and print one JSON object a line."""
    options = _options()
    if options.one:
        print(json.dumps(scale(options.one)), flush=True)
        return
    for size in options.sizes.split(","):
        # A process each, so that its peak memory is its own.
        subprocess.run([sys.executable, __file__, "--one", size], check=True)
    for line in compare(options.trials):
        print(json.dumps(line), flush=True)


def surrogate() -> Estimates:
    """Return a smooth accuracy and the MACs (in millions) of the reference's w1.0 space."""
    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0").restrict(
        resolutions_px=(160, 176, 192, 208, 224)
    )
    return Estimates(space, lambda genes: _accuracy(space, genes), lambda g: _macs(space, g))


def _accuracy(space: SearchSpace, genes: Genes) -> tuple[FloatArray, FloatArray]:
    values = space.values(genes)
    kernels = np.log1p(values["kernel_size"] / 3) @ np.linspace(0.5, 1.0, space.num_blocks)
    expands = np.sqrt(values["expand_ratio"] / 6) @ np.linspace(1.0, 2.0, space.num_blocks)
    size = (values["resolution"][:, 0] / 224) ** 0.4
    mean = 0.5 + 0.3 * (1 - np.exp(-0.06 * (0.4 * kernels + expands) * size))
    return mean, np.zeros(len(genes))


def _macs(space: SearchSpace, genes: Genes) -> FloatArray:
    return estimate_cost(space, genes, num_classes=1000).macs / 1e6


def scale(size: int) -> dict[str, object]:
    """Evaluate about `size` candidates without early stop."""
    generations = max(1, size // POPULATION)
    # A candidate is what is within the budgets; the gain of the hopeless is only guessed.
    settings = EvolutionSettings(
        population=min(POPULATION, size),
        generations=generations,
        patience=generations + 1,
        islands=0,
    )
    before = _peak_mb()
    start = time.perf_counter()
    result = search_front(surrogate(), budgets_ms=BUDGETS, settings=settings)
    seconds = time.perf_counter() - start
    return {
        "candidates": result.num_considered,
        "evaluated": result.num_evaluated,
        "seconds": seconds,
        "candidates_per_s": result.num_considered / seconds,
        "microseconds_per_candidate": 1e6 * seconds / result.num_considered,
        "peak_memory_mb": _peak_mb(),
        "memory_grown_mb": _peak_mb() - before,
        "hypervolume": result.hypervolume,
    }


def compare(trials: int) -> list[dict[str, object]]:
    """Give Optuna's NSGA-II some trials, and our search as many candidates."""
    estimates = surrogate()
    small = EvolutionSettings(population=100, generations=100, patience=100, islands=0, elite=32)
    lines = []
    for name, run in (("ofa_pipeline", _ours), ("optuna NSGA-II", _optuna)):
        start = time.perf_counter()
        losses = run(estimates, trials, small)
        lines.append(
            {
                "method": name,
                "candidates": trials,
                "seconds": time.perf_counter() - start,
                "hypervolume": hypervolume(losses, np.array(REFERENCE_POINT)),
            }
        )
    return lines


def _ours(estimates: Estimates, trials: int, settings: EvolutionSettings) -> FloatArray:
    asked = 0
    rows: list[FloatArray] = []

    def accuracy(genes: Genes) -> tuple[FloatArray, FloatArray]:
        nonlocal asked
        mean, std = estimates.accuracy(genes)
        kept = slice(0, max(trials - asked, 0))
        asked += len(genes)
        rows.append(np.column_stack([-mean[kept], estimates.latency(genes[kept])]))
        return mean, std

    counted = replace(settings, generations=max(1, trials // settings.population))
    search_front(
        Estimates(estimates.space, accuracy, estimates.latency),
        budgets_ms=BUDGETS,
        settings=counted,
    )
    return np.concatenate(rows)


def _optuna(estimates: Estimates, trials: int, settings: EvolutionSettings) -> FloatArray:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.NSGAIISampler(population_size=settings.population, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    space = estimates.space
    choices = distributions(space)
    losses = []
    for _ in range(trials):
        trial = study.ask(fixed_distributions=choices)
        genes = space.genes([arch_of(space, trial.params)])
        accuracy, cost = estimates.accuracy(genes)[0][0], estimates.latency(genes)[0]
        study.tell(trial, [float(accuracy), float(cost)])
        losses.append([-accuracy, cost])
    return np.array(losses)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--one", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
