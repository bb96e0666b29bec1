"""Seconds that a supernet takes for an epoch of 50,000 images of 32 pixels, four subnets a step.

    python benchmarks/supernet_epoch.py [--device cuda] [--batch-sizes 512 64] [--images 50000]
        [--seconds 10] [--quick]

The space and the recipe of the shipped params (sandwich, the largest teaches, crops and mirror
images, batch norm by groups of 32), through the training loop itself, on random images. The first
steps warm up; then steps count until the seconds are over or an epoch is whole, without validation.
What an epoch takes is extrapolated from them: ``steps`` and ``seconds`` say what was measured,
``is_whole_epoch`` whether that was all. Kernels are deterministic, as in the training stage;
``--quick`` leaves them to the libraries. Prints one JSON object a batch size.
"""

import argparse
import json
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from benchmark_options import above_zero, at_least, told
from gpu_common import (
    BATCH,
    NUM_CLASSES,
    Result,
    cuda,
    random_images,
    recipe,
    sandwich,
    small_space,
)
from gpu_speed import EPOCH_IMAGES, SUBNETS, WARM_UP, WARM_UP_S, wait_for

from ofa_pipeline.progress import ProgressEvent, Reporter
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import Hooks, deterministic, train_phase

SIDE_PX = 32
EPOCH_GOAL_S = 2.0
"""For batches of 512 and more, on an H100."""


class MeasuredError(Exception):
    """Enough steps were measured: training ends."""


@dataclass(kw_only=True)
class Clock:
    """Counts the steps after a warm-up, until their number or their seconds are reached."""

    device: torch.device
    warm_up: int
    steps: int
    seconds: float
    taken: int = 0
    begin: float = field(default_factory=time.perf_counter)
    warmed: tuple[int, float] | None = None
    """Steps before the first that counts, and when it began."""
    end: float = 0.0

    def note(self, event: ProgressEvent) -> None:
        """Take note of a step.

        Raises:
            MeasuredError: If it was the last that counts.
        """
        if not event.total:  # a message
            return
        self.taken += 1
        if self.warmed is None:
            if self.taken == self.warm_up or time.perf_counter() - self.begin > WARM_UP_S:
                wait_for(self.device)
                self.warmed = self.taken, time.perf_counter()
            return
        first, start = self.warmed
        is_over = time.perf_counter() - start > self.seconds
        if is_over or self.taken - first == self.steps:
            wait_for(self.device)
            self.end = time.perf_counter()
            raise MeasuredError

    def figures(self) -> dict[str, Any]:
        """Return what was measured."""
        assert self.warmed is not None
        first, start = self.warmed
        steps, seconds = self.taken - first, self.end - start
        return {
            "warm_up_steps": first,
            "warm_up_s": round(start - self.begin, 2),
            "steps": steps,
            "seconds": round(seconds, 3),
            "step_ms": round(1000 * seconds / steps, 2),
            "is_whole_epoch": steps == self.steps,
        }


def measure(
    device: torch.device,
    *,
    batch_size: int,
    num_images: int,
    seconds: float,
    is_deterministic: bool = True,
) -> dict[str, Any]:
    """Train until enough was measured, and return the figures."""
    space = small_space()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0).to(device)
    steps = num_images // batch_size
    images = random_images(num_images, SIDE_PX)
    warm_up = min(WARM_UP, steps)
    epochs = 2 + warm_up // steps
    clock = Clock(device=device, warm_up=warm_up, steps=steps, seconds=seconds)
    with deterministic(threads=1) if is_deterministic else nullcontext(), suppress(MeasuredError):
        train_phase(
            supernet,
            sandwich(space, per_step=SUBNETS, epochs=epochs),
            images=images,
            recipe=recipe(batch_size=batch_size),
            hooks=Hooks(reporter=Reporter(clock.note, interval_s=0)),
        )
    figures = clock.figures()
    rate = 1000 * batch_size / figures["step_ms"]
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "batch_size": batch_size,
        "subnets_per_step": SUBNETS,
        "deterministic": is_deterministic,
        **figures,
        "images_per_s": round(rate),
        "seconds_for_50000": round(EPOCH_IMAGES / rate, 2),
    }


def epoch_32px(*, batch: int, seconds: float, is_deterministic: bool = True) -> Result:
    """Time an epoch of 50,000 images through the training loop, from the steps that fit."""
    figures = measure(
        cuda(),
        batch_size=batch,
        num_images=EPOCH_IMAGES,
        seconds=seconds,
        is_deterministic=is_deterministic,
    )
    goal = None if batch == BATCH else EPOCH_GOAL_S
    is_reached = goal is None or figures["seconds_for_50000"] <= goal
    return Result(is_reached, figures | {"goal_s": goal})


def main() -> None:
    """Print one JSON object a batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=default)
    parser.add_argument("--batch-sizes", type=at_least(2), nargs="+", default=[512, 64])
    parser.add_argument("--images", type=at_least(2), default=EPOCH_IMAGES)
    parser.add_argument("--seconds", type=above_zero, default=10.0, help="for each batch size")
    parser.add_argument("--quick", action="store_true", help="kernels need not be deterministic")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a CUDA device, torch sees none: use --device cpu")
    if max(options.batch_sizes) > options.images:
        parser.error(
            f"--batch-sizes must be at most --images, {options.images}, got "
            f"{max(options.batch_sizes)}"
        )
    for batch_size in options.batch_sizes:
        found = measure(
            torch.device(options.device),
            batch_size=batch_size,
            num_images=options.images,
            seconds=options.seconds,
            is_deterministic=not options.quick,
        )
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(told(main))
