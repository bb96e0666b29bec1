"""Search on the reference's published predictor and Note10 tables, all budgets in one run.

One JSON object a seed and budget:

    python benchmarks/search_official.py --artifacts DIR \
        --budgets 15,20,25,30,35,40,45,50,55,60 --seeds 5 [--reference]

DIR holds ``acc_predictor.pth`` and look-up tables, in it or in a folder such as ``note10``. With
``--reference`` the reference's evolution (package ``ofa``) searches each budget in the same
process, with the same predictor and the same table; its table look-up is ours, which is faster
than the one it comes with.
"""

import argparse
import contextlib
import io
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.latency.lookup_table import FILE_NAME, LookupTableModel, read_lookup_tables
from ofa_pipeline.predictor import OfficialPredictor, load_official_predictor
from ofa_pipeline.search import Estimates, EvolutionSettings, Scored
from ofa_pipeline.search.additive import AdditiveScore, additive_part
from ofa_pipeline.search.guided import search_guided

NUM_CLASSES = 1000
NUM_BLOCKS = 20


def main() -> None:
    """Read the options and print one JSON object a line."""
    options = _options()
    budgets = [float(text) for text in options.budgets.split(",")]
    predictor, tables = load(options.artifacts)
    for seed in range(options.seeds):
        for line in ours(predictor, tables, budgets=budgets, seed=seed):
            print(json.dumps(line), flush=True)
        if options.reference:
            for line in reference(predictor, tables, budgets=budgets, seed=seed):
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
    start = time.perf_counter()
    guided = search_guided(
        Estimates(predictor.space, predictor.predict, tables.predict),
        budgets_ms=budgets,
        settings=EvolutionSettings(seed=seed),
    )
    seconds = time.perf_counter() - start
    for finding in guided.result.findings:
        yield {
            "budget_ms": finding.budget,
            "seed": seed,
            **describe(predictor.space, finding.best),
            "seconds_all_budgets": seconds,
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


def reference(
    predictor: OfficialPredictor, tables: LookupTableModel, *, budgets: list[float], seed: int
) -> Iterator[dict[str, Any]]:
    """Run the reference's evolution for each budget."""
    from ofa.nas.search_algorithm import EvolutionFinder

    finder = EvolutionFinder(
        _ReferenceLatency(predictor.space, additive_part(predictor.space, tables.predict).score),
        _reference_predictor(predictor),
    )
    for budget in budgets:
        random.seed(seed)
        np.random.seed(seed)
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            _, (accuracy, arch, latency_ms) = finder.run_evolution_search(budget)
        yield {
            "budget_ms": budget,
            "seed": seed,
            "reference": True,
            "depths": list(arch["d"]),
            "resolution_px": arch["image_size"],
            "accuracy": accuracy,
            "latency_ms": latency_ms,
            "seconds": time.perf_counter() - start,
        }


@dataclass
class _ReferenceLatency:
    """Sums of table entries, as the reference asks for them: one architecture at a time."""

    space: SearchSpace
    sums: AdditiveScore

    def __post_init__(self) -> None:
        self.blocks = self.sums.blocks.tolist()
        self.depths = self.sums.depths.tolist()
        self.fixed = self.sums.fixed.tolist()
        self.resolution = {r: i for i, r in enumerate(self.space.resolutions_px)}

    def get_efficiency(self, arch: Mapping[str, Any]) -> float:
        """Return the latency in milliseconds."""
        place = self.resolution[arch["image_size"]]
        total = self.fixed[place]
        blocks = self.blocks[place]
        for group, (depth, offset) in enumerate(
            zip(arch["d"], self.space.block_offsets, strict=True)
        ):
            total += self.depths[place][group][depth - 2]
            for slot in range(offset, offset + depth):
                total += blocks[slot][KERNELS[arch["ks"][slot]]][EXPANDS[arch["e"][slot]]]
        return float(total)


KERNELS = {3: 0, 5: 1, 7: 2}
EXPANDS = {3: 0, 4: 1, 6: 2}


def _reference_predictor(predictor: OfficialPredictor) -> Any:  # noqa: ANN401 - untyped package
    """Return the same network in the reference's class."""
    import torch
    from ofa.nas.accuracy_predictor import AccuracyPredictor, MobileNetArchEncoder

    space = predictor.space
    encoder = MobileNetArchEncoder(image_size_list=list(space.resolutions_px))
    theirs = AccuracyPredictor(encoder, 400, 3, device="cpu")
    state = predictor.state()
    columns = [*state["resolution_inputs"].astype(int), *range(2 * 3 * NUM_BLOCKS)]
    tensor: Callable[[Any], torch.Tensor] = lambda array: torch.tensor(  # noqa: E731
        np.asarray(array), dtype=torch.float32
    )
    weights = {
        "layers.0.0.weight": tensor(state["weight_0"][:, columns]),
        "layers.3.weight": tensor(state["weight_3"]),
        "base_acc": tensor(state["bias_3"]),
    }
    for layer in range(3):
        weights[f"layers.{layer}.0.bias"] = tensor(state[f"bias_{layer}"])
        if layer:
            weights[f"layers.{layer}.0.weight"] = tensor(state[f"weight_{layer}"])
    theirs.load_state_dict(weights)
    return theirs


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=Path, required=True)
    parser.add_argument("--budgets", default="15,20,25,30,35,40,45,50,55,60")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--reference", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
