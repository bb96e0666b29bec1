"""Search on the reference's published predictor and Note10 tables, all budgets in one run.

One JSON object a seed and budget:

    python benchmarks/search_official.py --artifacts DIR \
        --budgets 15,20,25,30,35,40,45,50,55,60 --seeds 5 [--reference]

DIR holds ``acc_predictor.pth`` and look-up tables, in it or in a folder such as ``note10``.
``--first-seed`` takes other seeds. With ``--reference`` the evolution of the reference's tutorial
(package ``ofa``) searches each budget in the same process, with the same predictor and tables.
"""

import argparse
import contextlib
import io
import json
import random
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.memory import keep_freed_memory
from ofa_pipeline.reference.lookup_table import FILE_NAME, LookupTableModel, read_lookup_tables
from ofa_pipeline.reference.official_predictor import OfficialPredictor, load_official_predictor
from ofa_pipeline.search import Estimates, EvolutionSettings, Scored, search_guided

NUM_CLASSES = 1000
NUM_BLOCKS = 20


def main() -> None:
    """Read the options and print one JSON object a line."""
    options = _options()
    keep_freed_memory()  # as the command does
    budgets = [float(text) for text in options.budgets.split(",")]
    predictor, tables = load(options.artifacts)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for line in ours(predictor, tables, budgets=budgets, seed=seed):
            print(json.dumps(line), flush=True)
        if options.reference:
            for line in reference(options.artifacts, budgets=budgets, seed=seed):
                print(json.dumps(line), flush=True)


def load(folder: Path) -> tuple[OfficialPredictor, LookupTableModel]:
    """Read the predictor and the tables, for the resolutions that both know."""
    files = sorted(path for path in folder.rglob("*.yaml") if FILE_NAME.fullmatch(path.name))
    by_resolution = read_lookup_tables(files[0].parent if files else folder)
    path = folder / "acc_predictor.pth"
    known = load_official_predictor(path).space.resolutions_px
    common = [resolution for resolution in known if resolution in by_resolution]
    predictor = load_official_predictor(path, resolutions_px=common)
    return predictor, LookupTableModel(predictor.space, by_resolution, num_classes=NUM_CLASSES)


def ours(
    predictor: OfficialPredictor, tables: LookupTableModel, *, budgets: list[float], seed: int
) -> Iterator[dict[str, Any]]:
    """Search all budgets at once."""
    start, start_cpu = time.perf_counter(), time.process_time()
    guided = search_guided(
        Estimates(predictor.space, predictor.predict, tables.predict, predictor.trace),
        budgets_ms=budgets,
        settings=EvolutionSettings(seed=seed),
    )
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    for finding in guided.result.findings:
        yield {
            "budget_ms": finding.budget,
            "seed": seed,
            **describe(predictor.space, finding.best),
            "seconds_all_budgets": seconds,
            "cpu_seconds_all_budgets": cpu_seconds,
        }


def describe(space: SearchSpace, best: Scored) -> dict[str, Any]:
    """Return an architecture with one entry a block slot, skipped blocks 0."""
    values = space.values(best.genes)
    return {
        "depths": [int(v) for v in values["depth"][0]],
        "kernel_sizes": [int(v) for v in values["kernel_size"][0]],
        "expand_ratios": [int(v) for v in values["expand_ratio"][0]],
        "resolution_px": int(values["resolution"][0, 0]),
        "accuracy": float(best.gain[0]),
        "latency_ms": float(best.costs[0, 0]),
    }


def reference(folder: Path, *, budgets: list[float], seed: int) -> Iterator[dict[str, Any]]:
    """Run the reference's evolution for each budget, as its tutorial does it."""
    sys.modules.setdefault("gdown", types.ModuleType("gdown"))  # only its downloads need it
    from ofa.tutorial import EvolutionFinder

    predictor, tables = _reference_predictor(folder), _reference_tables(folder)
    for budget in budgets:
        random.seed(seed)
        np.random.seed(seed)
        finder = EvolutionFinder("note10", budget, tables, predictor)
        start, start_cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            _, (accuracy, arch, latency_ms) = finder.run_evolution_search()
        yield {
            "budget_ms": budget,
            "seed": seed,
            "reference": True,
            "depths": arch["d"],
            "resolution_px": arch["r"][0],
            "accuracy": accuracy,
            "latency_ms": latency_ms,
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - start_cpu,
        }


def _reference_tables(folder: Path) -> Any:  # noqa: ANN401 - untyped package
    """Return its latency tables, read from the folder instead of downloaded."""
    import yaml
    from ofa.tutorial.latency_table import LatencyEstimator, LatencyTable

    tables = object.__new__(LatencyTable)
    tables.latency_tables = {}
    for path in sorted(folder.rglob("*.yaml")):
        if match := FILE_NAME.fullmatch(path.name):
            estimator = object.__new__(LatencyEstimator)
            estimator.lut = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
            tables.latency_tables[int(match[1])] = estimator
    return tables


def _reference_predictor(folder: Path) -> Any:  # noqa: ANN401 - untyped package
    """Return its accuracy predictor, read from the folder instead of downloaded."""
    import torch
    from ofa.tutorial import AccuracyPredictor

    predictor = AccuracyPredictor(pretrained=False, device="cpu")
    state = torch.load(folder / "acc_predictor.pth", map_location="cpu", weights_only=True)
    predictor.model.load_state_dict(state)
    return predictor


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=Path, required=True)
    parser.add_argument("--budgets", default="15,20,25,30,35,40,45,50,55,60")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--reference", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
