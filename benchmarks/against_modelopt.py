"""NVIDIA's Model Optimizer and this project side by side: three budgets, one JSON object a pick.

Every way gets the same images, the same CPU seconds to train in, the same fine-tuning of each pick
and the same final test. ``ours`` takes fewer seconds in all; ``ours-in-all`` is the same pick,
fine-tuned until it has taken as many as the quickest of the others. Ours trains the shipped space
by the shipped recipe and looks at as many subnets within each budget as it may. ``autonas`` trains
a like network, whose widths and depths it makes elastic, for as many seconds, a random subnet a
step, and evolves. ``fastnas`` prunes the widths of the same network, which was trained alone for as
many seconds. The like network is our largest subnet of plain convolutions; kernel and image sizes
stay its own in both of theirs. Where Model Optimizer is not in the way, in the training for
``fastnas`` and in fine-tuning, it has our depthwise convolutions, whose gradient is faster on a
CPU.

    python benchmarks/against_modelopt.py [--seconds 60] [--finetune 15] [--looks 30]
        [--budgets 2.5e6 3.5e6 5e6] [--ways autonas fastnas ours]

Budgets are multiply-accumulates; Model Optimizer counts two operations for each. Batch norm is
calibrated and candidates are compared on the same 600 images, picks on the test images. Seconds are
of the CPU. Model Optimizer is the extra ``peers`` of this package, and does not install beside all
of the others, so it has an environment of its own:

    uv venv build/peers
    uv pip install --python build/peers/bin/python -e '.[peers]'
    build/peers/bin/python benchmarks/against_modelopt.py
"""

import argparse
import copy
import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import recipes
import torch
import torch.nn.functional as F
from benchmark_options import above_zero, at_least, told
from recipes import BATCH, LARGEST, NORMALIZATION, NUM_CLASSES, TRIALS, Bench
from torch import Tensor, nn

from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.data.transforms import augment, resize_normalize
from ofa_pipeline.supernet import build_subnet, extract_subnet
from ofa_pipeline.supernet.depthwise import DepthwiseConv2d
from ofa_pipeline.training import deterministic
from ofa_pipeline.training.optimizer import build_optimizer, set_learning_rate

WAYS = ("autonas", "fastnas", "ours")
BUDGETS_MACS = (2.5e6, 3.5e6, 5.0e6)
RATE, FINETUNING_RATE = LARGEST.learning_rate, 0.75 * LARGEST.learning_rate
WARM_UP_SHARE = 0.05
SMOOTHING = 0.1
OPERATIONS_A_MAC = 2
DRAWN = 4000
NEAR = 0.75
"""Subnets of at least this part of a budget are looked at."""
POPULATION, CANDIDATES = 10, 5
PROBE_STEPS = 3.0
"""Of an epoch, of a first training that says what a step costs."""
NEEDS = ("modelopt.torch.nas", "modelopt.torch.prune", "torchprofile")
INSTALL = (
    "uv venv build/peers ; uv pip install --python build/peers/bin/python -e '.[peers]' ; "
    "build/peers/bin/python benchmarks/against_modelopt.py"
)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training took."""

    seconds: float
    """CPU seconds."""
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search has found within a budget, with what it took."""

    network: nn.Module
    budget: float
    """Multiply-accumulates."""
    side_px: int
    looks: int
    trained: Trained
    searched_s: float

    @property
    def seconds(self) -> float:
        """CPU seconds until it was found."""
        return self.trained.seconds + self.searched_s


def main() -> int:
    """Train, search, fine-tune and print."""
    options = _options()
    nas, prune = _modelopt() if set(options.ways) - {"ours"} else (None, None)
    torch.manual_seed(options.seed)
    bench = recipes.open_bench(None, "cpu")
    ways: dict[str, Callable[[], Iterator[Found]]] = {
        "autonas": lambda: autonas(bench, options, nas),
        "fastnas": lambda: fastnas(bench, options, prune),
        "ours": lambda: ours(bench, options),
    }
    with deterministic(threads=1), redirect_stdout(sys.stderr):  # Model Optimizer talks there
        quickest: dict[float, float] = {}
        for name in (name for name in WAYS if name in options.ways):
            facts = {"way": name, "seed": options.seed, "images": "fashion_mnist_sample"}
            for found in ways[name]():
                left_s = quickest.get(found.budget, 0.0) - found.seconds
                if name == "ours" and left_s > 0:
                    again = replace(found, network=copy.deepcopy(found.network))
                    line, _ = pick(again, bench, finetune_s=left_s)
                    _print(facts | {"way": "ours-in-all"} | line)
                line, seconds = pick(found, bench, finetune_s=options.finetune)
                _print(facts | line)
                if name != "ours":
                    quickest[found.budget] = min(seconds, quickest.get(found.budget, math.inf))
    return 0


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), file=sys.__stdout__, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=above_zero, default=60, help="CPU seconds of training")
    parser.add_argument("--finetune", type=above_zero, default=15, help="CPU seconds of each pick")
    parser.add_argument("--looks", type=at_least(1), default=30, help="candidates of each budget")
    parser.add_argument("--budgets", type=above_zero, nargs="+", default=list(BUDGETS_MACS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seed", type=at_least(0), default=0)
    return parser.parse_args()


def _modelopt() -> tuple[ModuleType, ModuleType]:
    """Return what converts and what prunes.

    Raises:
        SystemExit: If Model Optimizer, or what it needs, cannot be imported.
    """
    try:
        nas, prune, _ = (importlib.import_module(name) for name in NEEDS)
    except Exception as error:
        raise SystemExit(
            f"Model Optimizer must be installed to compare with it, but: {type(error).__name__}: "
            f"{error}. It has an environment of its own: {INSTALL} ; or leave it out: --ways ours"
        ) from error
    return nas, prune


# ---- the three ways ---------------------------------------------------------------------------


def ours(bench: Bench, options: argparse.Namespace) -> Iterator[Found]:
    """Train the shipped recipe, and look at subnets within each budget."""
    trial = TRIALS["shipped"]
    *_, probed_s = recipes.train(trial, bench, steps=PROBE_STEPS, seed=options.seed)
    supernet, steps, trained_s = recipes.train(
        trial, bench, steps=PROBE_STEPS * options.seconds / probed_s, seed=options.seed
    )
    trained = Trained(trained_s, steps)
    space, evaluator = supernet.space, bench.evaluator(supernet, on_test=False)
    genes = space.canonicalize(space.sample(np.random.default_rng(options.seed), DRAWN))
    macs = estimate_cost(space, genes, num_classes=NUM_CLASSES).macs
    for budget in options.budgets:
        begin = bench.clock()
        fitting = np.flatnonzero((macs <= budget) & (macs >= NEAR * budget))[: options.looks]
        archs = space.archs(genes[fitting])
        if not archs:
            raise SystemExit(f"no subnet of {DRAWN} has {NEAR:g} to 1 times {budget:g} MACs")
        found = [evaluator.evaluate(arch).accuracy_top1 for arch in archs]
        best = archs[int(np.argmax(found))]
        searched_s = bench.clock() - begin
        network = evaluator.calibrate(extract_subnet(supernet, best)).train()
        yield Found(
            network=network,
            budget=budget,
            side_px=best.resolution_px,
            looks=len(archs),
            trained=trained,
            searched_s=searched_s,
        )


def autonas(
    bench: Bench,
    options: argparse.Namespace,
    nas: Any,  # noqa: ANN401 - has no types
) -> Iterator[Found]:
    """Train a random subnet a step, and evolve within each budget."""
    side = bench.space(TRIALS["shipped"]).largest.resolution_px
    network = nas.convert(like_network(bench, options.seed), mode=[("autonas", _rules())])
    trained = train(network, bench, side_px=side, seconds=options.seconds, rate=RATE)

    def search(budget: float, score: Score) -> nn.Module:
        found, _ = nas.search(
            copy.deepcopy(network),
            constraints={"flops": OPERATIONS_A_MAC * budget},
            dummy_input=torch.zeros(1, 3, side, side),
            config={
                **_search_config(bench, side, score),
                "num_iters": 4 * options.looks,
                "population_size": POPULATION,
                "candidate_size": CANDIDATES,
            },
        )
        return found

    yield from _found(bench, options, side, trained, search)


def fastnas(
    bench: Bench,
    options: argparse.Namespace,
    prune: Any,  # noqa: ANN401 - has no types
) -> Iterator[Found]:
    """Train the like network alone, and prune it to each budget."""
    side = bench.space(TRIALS["shipped"]).largest.resolution_px
    network = with_fast_depthwise(like_network(bench, options.seed))
    trained = train(network, bench, side_px=side, seconds=options.seconds, rate=RATE)

    def search(budget: float, score: Score) -> nn.Module:
        found, _ = prune.prune(
            with_plain_depthwise(copy.deepcopy(network)),
            mode=[("fastnas", _rules())],
            constraints={"flops": OPERATIONS_A_MAC * budget},
            dummy_input=torch.zeros(1, 3, side, side),
            config=_search_config(bench, side, score),
        )
        return found

    yield from _found(bench, options, side, trained, search)


def _found(
    bench: Bench,
    options: argparse.Namespace,
    side: int,
    trained: Trained,
    search: Callable[[float, "Score"], nn.Module],
) -> Iterator[Found]:
    """Search within each budget."""
    for budget in options.budgets:
        begin, score = bench.clock(), Score(bench, side)
        network = search(budget, score)
        searched_s = bench.clock() - begin
        yield Found(
            network=network.train(),
            budget=budget,
            side_px=side,
            looks=score.calls,
            trained=trained,
            searched_s=searched_s,
        )


def like_network(bench: Bench, seed: int) -> nn.Module:
    """Return our largest subnet of plain convolutions, which is all that Model Optimizer knows."""
    space = bench.space(TRIALS["shipped"])
    network = build_subnet(space, space.largest, num_classes=NUM_CLASSES, dropout=0.1, seed=seed)
    return with_plain_depthwise(network)


def with_plain_depthwise(network: nn.Module) -> nn.Module:
    """Return the network with torch's own depthwise convolutions, in the order of torch."""
    for name, module in list(network.named_modules()):
        if isinstance(module, DepthwiseConv2d):
            sizes = module.in_channels, module.out_channels, module.kernel_size
            plain = nn.Conv2d(
                *sizes,
                stride=module.stride,
                padding=module.padding,
                groups=module.groups,
                bias=False,
            )
            plain.weight = module.weight
            network.set_submodule(name, plain)
    return network.to(memory_format=torch.contiguous_format)


def with_fast_depthwise(network: nn.Module) -> nn.Module:
    """Return the network with our depthwise convolutions, channels last."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            kernel_size, stride = module.kernel_size[0], module.stride[0]
            fast = DepthwiseConv2d(module.in_channels, kernel_size, stride=stride)
            fast.weight = module.weight
            network.set_submodule(name, fast)
    return network.to(memory_format=torch.channels_last)


def _rules() -> dict[str, Any]:
    """Return what is elastic: widths in steps of 8 instead of 32, which leave more choices."""
    return {
        "nn.Conv2d": {"*": {"channel_divisor": 8}},
        "nn.BatchNorm2d": {"*": {"feature_divisor": 8}},
        "nn.Linear": {"*": {"feature_divisor": 8}},
    }


def _search_config(bench: Bench, side_px: int, score: "Score") -> dict[str, Any]:
    return {
        "data_loader": list(views(bench.calibration, side_px)),
        "collect_func": lambda batch: batch[0],
        "score_func": score,
        "verbose": False,
    }


class Score:
    """Top-1 of a network on the images that candidates are compared on, and how often."""

    def __init__(self, bench: Bench, side_px: int) -> None:
        """Count from 0."""
        self._batches = list(views(bench.calibration, side_px))
        self.calls = 0

    def __call__(self, network: nn.Module) -> float:
        """Return top-1, a fraction."""
        self.calls += 1
        return top1(network, self._batches)


# ---- what all have in common ------------------------------------------------------------------


def pick(found: Found, bench: Bench, *, finetune_s: float) -> tuple[dict[str, Any], float]:
    """Fine-tune what was found; return its line, and the seconds that it took in all."""
    side_px = found.side_px
    test = list(views(bench.test, side_px))
    network = with_fast_depthwise(found.network)
    extracted = top1(network, test)
    finetuned = train(network, bench, side_px=side_px, seconds=finetune_s, rate=FINETUNING_RATE)
    accuracy, count = top1(network, test), len(bench.test.labels)
    line = {
        "budget_macs_m": found.budget / 1e6,
        "macs_m": round(macs_of(network, side_px) / 1e6, 2),
        "parameters": sum(each.numel() for each in network.parameters()),
        "side_px": side_px,
        "accuracy_top1_extracted": round(extracted, 4),
        "accuracy_top1": round(accuracy, 4),
        "standard_error": round(math.sqrt(accuracy * (1 - accuracy) / count), 4),
        "looks": found.looks,
        "steps_training": found.trained.steps,
        "steps_finetuning": finetuned.steps,
        "seconds_training": round(found.trained.seconds, 1),
        "seconds_search": round(found.searched_s, 1),
        "seconds_finetuning": round(finetuned.seconds, 1),
    }
    return line, found.seconds + finetuned.seconds


def train(
    network: nn.Module, bench: Bench, *, side_px: int, seconds: float, rate: float
) -> Trained:
    """Train a network on the labels for some CPU seconds, in one cosine."""
    network.train()
    optimizer = build_optimizer(network, momentum=0.9, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(0)
    begin, spent, epoch, steps = bench.clock(), 0.0, 0, 0
    while spent < seconds:
        for batch in bench.train.shuffled_batches(BATCH, seed=0, epoch=epoch):
            share = spent / seconds
            warm = min(1.0, share / WARM_UP_SHARE)
            set_learning_rate(optimizer, rate * warm * (1 + math.cos(math.pi * share)) / 2)
            images = augment(
                batch.images,
                kind="crop_flip",
                resolution_px=side_px,
                normalization=NORMALIZATION,
                generator=generator,
            )
            F.cross_entropy(network(images), batch.labels, label_smoothing=SMOOTHING).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
            spent, steps = bench.clock() - begin, steps + 1
            if spent >= seconds:
                break
        epoch += 1
    return Trained(spent, steps)


def views(split: Any, side_px: int) -> Iterator[tuple[Tensor, Tensor]]:  # noqa: ANN401 - in memory
    """Yield images as evaluation sees them, and their labels."""
    for batch in split.batches(200):
        images = resize_normalize(batch.images, resolution_px=side_px, normalization=NORMALIZATION)
        yield images, batch.labels


def top1(network: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Return the share of images that a network gets right; it is left as it was."""
    was_training, right = network.training, 0
    network.eval()
    with torch.no_grad():
        for images, labels in batches:
            right += int((network(images).argmax(dim=1) == labels).sum())
    network.train(was_training)
    return right / sum(len(labels) for _, labels in batches)


def macs_of(network: nn.Module, side_px: int) -> float:
    """Return the multiply-accumulates of convolutions and linear layers, for one image."""
    found = 0.0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal found
        if isinstance(module, nn.Conv2d):
            found += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            found += module.weight.numel()

    handles = [module.register_forward_hook(count) for module in network.modules()]
    top1(network, [(torch.zeros(1, 3, side_px, side_px), torch.zeros(1))])
    for handle in handles:
        handle.remove()
    return found


if __name__ == "__main__":
    sys.exit(told(main))
