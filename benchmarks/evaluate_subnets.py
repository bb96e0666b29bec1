"""Subnets evaluated a minute, calibration included, against the reference's procedure.

The same supernet, weights, architectures, images and threads, alternately in one process. Both
sides calibrate batch norm on the same images and then classify the same images; one JSON object
a resolution.

    python benchmarks/evaluate_subnets.py [--resolutions-px 128 32] [--threads 2] [--workers 2]

What is different: the subnet is extracted once and then runs as a plain network, batch norm
folded into the convolutions for the evaluation pass; channels-last memory; torch's own activations
and batch norm instead of statistics computed by hand; no copy of the whole supernet, and no
gradients anywhere. Freed memory is kept, as in collect_accuracy
(`ofa_pipeline.memory`), against glibc's own settings. Each side warms up before each round.

The last object compares one subnet at a time with as many as there are cores, each computed with
one thread, in the way of collect_accuracy and search: subnets a minute, and whether all logits have
equal bits. Where others want the cores, too, the second ratio leaves out what threads waited for.
"""

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics
from reference_package import activate, build_reference, copy_weights, return_freed_memory
from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.compute import LocalExecutor
from ofa_pipeline.cores import usable_cores
from ofa_pipeline.evaluation import calibrate_batch_norm, predict
from ofa_pipeline.memory import keep_freed_memory
from ofa_pipeline.spaces import mobilenet_v3_small_images, reference_space
from ofa_pipeline.supernet import Supernet, build_supernet, extract_subnet, fold_batch_norm
from ofa_pipeline.training import deterministic

NUM_CLASSES = 100
BATCH_SIZE = 100
NUM_SIDE_BY_SIDE = 1000
Batches = list[tuple[Tensor, Tensor]]


def our_logits(supernet: Supernet, arch: Arch, calibration: Batches, evaluation: Batches) -> Tensor:
    """Evaluate as `SubnetEvaluator` does."""
    subnet = calibrate_batch_norm(extract_subnet(supernet, arch), [x for x, _ in calibration])
    network = fold_batch_norm(subnet).to(memory_format=torch.channels_last)
    return predict(network, evaluation).logits


def reference_logits(
    reference: nn.Module, arch: Arch, calibration: Batches, evaluation: Batches
) -> Tensor:
    """Evaluate as the reference's run manager does: set, re-calibrate, validate."""
    activate(reference, arch, reference_space("ofa_mbv3_d234_e346_k357_w1.0"))
    set_running_statistics(reference, calibration)
    reference.eval()
    with torch.no_grad():
        return torch.cat([reference(images) for images, _ in evaluation])


def compare(*, resolution_px: int, num_images: int, rounds: int) -> dict[str, object]:
    """Run both procedures alternately."""
    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
    supernet = build_supernet(space, num_classes=NUM_CLASSES).eval()
    reference = build_reference(space, num_classes=NUM_CLASSES)
    copy_weights(supernet, reference)
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(BATCH_SIZE, dtype=torch.long)
    shape = (BATCH_SIZE, 3, resolution_px, resolution_px)
    # One batch of calibration images: there the two definitions of the statistics agree.
    calibration = [(torch.randn(shape, generator=generator), labels)]
    evaluation = [
        (torch.randn(shape, generator=generator), labels) for _ in range(num_images // BATCH_SIZE)
    ]
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {"ours": [], "reference": []}
    difference = 0.0
    for number, arch in enumerate(space.archs(space.sample(rng, rounds + 1))):
        keep_freed_memory()
        our_logits(supernet, arch, calibration[:1], evaluation[:1])  # no cold memory on either side
        start = time.perf_counter()
        ours = our_logits(supernet, arch, calibration, evaluation)
        our_end = time.perf_counter()
        return_freed_memory()
        reference_logits(reference, arch, calibration[:1], evaluation[:1])
        middle = time.perf_counter()
        theirs = reference_logits(reference, arch, calibration, evaluation)
        end = time.perf_counter()
        difference = max(difference, float((ours - theirs).abs().max()))
        if number:  # the first round warms up
            seconds["ours"].append(our_end - start)
            seconds["reference"].append(end - middle)
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["reference"], strict=True)]
    return {
        "resolution_px": resolution_px,
        "calibration_images": BATCH_SIZE,
        "evaluation_images": num_images,
        "threads": torch.get_num_threads(),
        "ours_subnets_per_minute": round(60 / statistics.median(seconds["ours"]), 2),
        "reference_subnets_per_minute": round(60 / statistics.median(seconds["reference"]), 2),
        "ratio": round(statistics.median(ratios), 3),
        "max_logit_difference": difference,
    }


@dataclass(frozen=True, slots=True)
class _Task:
    arch: Arch

    @property
    def key(self) -> str:
        return self.arch.arch_id


@dataclass(frozen=True, slots=True)
class _Timing:
    """One evaluation of all subnets."""

    wall_s: float
    unhindered_s: float
    """Of the thread that was busiest, without what it waited for a core that another had."""
    logits: dict[_Task, bytes]


def _timed(evaluate: Callable[[_Task], bytes], tasks: list[_Task], *, workers: int) -> _Timing:
    busy: dict[int, float] = {}

    def timed(task: _Task) -> bytes:
        start, before = time.perf_counter(), _waited_s()
        logits = evaluate(task)
        thread, waited = threading.get_ident(), _waited_s() - before
        busy[thread] = busy.get(thread, 0.0) + time.perf_counter() - start - waited
        return logits

    start = time.perf_counter()
    logits = dict(LocalExecutor(workers).run(lambda: timed, tasks))
    return _Timing(time.perf_counter() - start, max(busy.values()), logits)


def _waited_s() -> float:
    """Return how long this thread has waited for a core; Linux alone tells."""
    path = Path("/proc/thread-self/schedstat")
    return int(path.read_text().split()[1]) / 1e9 if path.exists() else 0.0


def side_by_side(*, workers: int, num_subnets: int, rounds: int) -> dict[str, object]:
    """Evaluate the same subnets one at a time and several at a time, alternately."""
    space = mobilenet_v3_small_images(
        stem_stride=2,
        stem_channels=16,
        group_channels=[24, 40, 64],
        group_strides=[1, 2, 2],
        head_channels=(192, 256),
        resolutions_px=(20, 24, 28),
        depths=(1, 2, 3),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(2.0, 3.0, 4.0),
    )
    supernet = build_supernet(space, num_classes=10).eval()
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(250).long()
    images = {
        size: [
            (torch.randn((250, 3, size, size), generator=generator), labels)
            for _ in range(NUM_SIDE_BY_SIDE // 250)
        ]
        for size in space.resolutions_px
    }

    def evaluate(task: _Task) -> bytes:
        batches = images[task.arch.resolution_px]
        return our_logits(supernet, task.arch, batches, batches).numpy().tobytes()

    archs = space.archs(space.sample(np.random.default_rng(0), num_subnets))
    tasks = [_Task(arch) for arch in dict.fromkeys(archs)]
    serial, several = [], []
    with deterministic(threads=1):
        keep_freed_memory()
        for _ in range(rounds + 1):
            serial.append(_timed(evaluate, tasks, workers=1))
            several.append(_timed(evaluate, tasks, workers=workers))
    pairs = list(zip(serial, several, strict=True))[1:]  # the first round warms up
    minute = 60 * len(tasks)
    ratio = statistics.median(one.wall_s / many.wall_s for one, many in pairs)
    unhindered = statistics.median(one.unhindered_s / many.unhindered_s for one, many in pairs)
    return {
        "workers": workers,
        "num_subnets": len(tasks),
        "evaluation_images": NUM_SIDE_BY_SIDE,
        "serial_subnets_per_minute": round(
            statistics.median(minute / one.wall_s for one, _ in pairs), 1
        ),
        "side_by_side_subnets_per_minute": round(
            statistics.median(minute / many.wall_s for _, many in pairs), 1
        ),
        "ratio": round(ratio, 3),
        "ratio_without_waiting_for_cores": round(unhindered, 3),
        "bits_are_equal": all(one.logits == many.logits for one, many in pairs),
    }


def main() -> None:
    """Print one JSON object a resolution, and one of subnets side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolutions-px", type=int, nargs="*", default=[128, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--workers", type=int, help="subnets at a time; by default, the cores")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for resolution_px in options.resolutions_px:
        num_images = 300 if resolution_px > 64 else 2000
        result = compare(resolution_px=resolution_px, num_images=num_images, rounds=options.rounds)
        print(json.dumps(result), flush=True)
    workers = options.workers or usable_cores()
    print(json.dumps(side_by_side(workers=workers, num_subnets=12, rounds=3)), flush=True)


if __name__ == "__main__":
    main()
