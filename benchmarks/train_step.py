"""Training step of our supernet against the reference's, alternately in one process.

The same weights, architectures, images, labels, threads and loss on both sides: teacher forward,
forward and backward of each sampled subnet, Nesterov SGD. Prints one JSON object a setting.

    python benchmarks/train_step.py [--resolutions-px 224 32] [--threads 2] [--device cpu]
        [--seconds 5] [--batch-size 64]

What is different: channels-last features and weights, torch's own hard-swish and hard-sigmoid
instead of chains of elementwise operations, squeeze-excite as matrix products on pooled
features, one reduction for global pooling, depthwise weight gradients by bands of columns
(docs/adr/0027), the teacher folded, a fused optimizer; and freed memory is kept, as in the training
stage (`ofa_pipeline.memory`). ``--same-memory`` leaves glibc's own settings on both sides instead.
Each side runs each step twice and the second counts, so that neither pays for the other's memory.

With ``--device cuda`` ours is the training step itself, in bfloat16, with how often it waits; the
reference has automatic mixed precision and channels-last, and is left out where its package is
missing, as on a bare machine. Both sides train random subnets that learn from the largest, and are
measured one after the other in the steps that fit ``--seconds``; ours is printed before the
reference begins. The goals are twice the reference at 224 px and five times at 32 px.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import torch
from benchmark_options import above_zero, at_least, told
from gpu_common import stepping, waits
from gpu_speed import pace, with_rates
from torch import Tensor, nn

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.memory import keep_freed_memory
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import Supernet, build_supernet, extract_subnet, fold_batch_norm
from ofa_pipeline.training import Phase, Sampled, Schedule, Teacher
from ofa_pipeline.training.losses import training_loss
from ofa_pipeline.training.optimizer import build_optimizer, set_learning_rate

NUM_CLASSES = 100
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 3e-5
GOALS = {224: 2.0, 32: 5.0}
"""How many times as fast as the reference ours shall be on CUDA, by image size."""
Step = Callable[[Tensor, Tensor, list[Arch]], list[float]]


def our_step(supernet: Supernet, teacher: nn.Module) -> Step:
    """Return our update; it gives the loss of each subnet."""
    optimizer = build_optimizer(supernet, momentum=0.9, weight_decay=WEIGHT_DECAY)

    def step(images: Tensor, labels: Tensor, archs: list[Arch]) -> list[float]:
        # Ours is the mean of the gradients, the reference's is the sum.
        set_learning_rate(optimizer, LEARNING_RATE * len(archs))
        images = images.contiguous(memory_format=torch.channels_last)
        losses = []
        with torch.no_grad():
            soft = teacher(images)
        for arch in archs:
            loss = training_loss(
                supernet(images, arch),
                labels,
                label_smoothing=0.1,
                teacher_logits=soft,
                distillation_weight=1.0,
            )
            (loss / len(archs)).backward()
            losses.append(float(loss.detach()))
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        return losses

    return step


def reference_step(reference: nn.Module, teacher: nn.Module, space: SearchSpace) -> Step:
    """Return the reference's update, as its progressive_shrinking.py does it."""
    from reference_package import activate, reference_loss, reference_parameter_groups

    optimizer = torch.optim.SGD(
        reference_parameter_groups(reference, weight_decay=WEIGHT_DECAY),
        lr=LEARNING_RATE,
        momentum=0.9,
        nesterov=True,
    )

    def step(images: Tensor, labels: Tensor, archs: list[Arch]) -> list[float]:
        losses = []
        with torch.no_grad():
            soft = teacher(images)
        reference.zero_grad()
        for arch in archs:
            activate(reference, arch, space)
            loss = reference_loss(reference(images), labels, soft)
            loss.backward()
            losses.append(float(loss.detach()))
        optimizer.step()
        return losses

    return step


def compare(
    *, resolution_px: int, batch: int, subnets: int, rounds: int, same_memory: bool
) -> dict[str, object]:
    """Run both steps alternately and return the figures."""
    from reference_package import (
        build_reference,
        build_reference_teacher,
        copy_teacher_weights,
        copy_weights,
        return_freed_memory,
    )

    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
    supernet, reference = (
        build(space, num_classes=NUM_CLASSES) for build in (build_supernet, build_reference)
    )
    copy_weights(supernet, reference)
    reference_teacher = build_reference_teacher(num_classes=NUM_CLASSES)
    copy_teacher_weights(reference, reference_teacher)
    teacher = fold_batch_norm(extract_subnet(supernet, space.largest))
    sides = {
        "ours": our_step(supernet.train(), teacher.to(memory_format=torch.channels_last)),
        "reference": reference_step(reference.train(), reference_teacher.eval(), space),
    }
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, resolution_px, resolution_px, generator=generator)
    labels = torch.randint(NUM_CLASSES, (batch,), generator=generator)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    difference = 0.0
    for number in range(rounds + 1):
        # Equal weights in every round: rounding differences would add up over updates.
        copy_weights(supernet, reference)
        archs = space.archs(space.sample(rng, subnets))
        losses = {}
        for name, step in sides.items():
            if name == "ours" and not same_memory:
                keep_freed_memory()
            else:
                return_freed_memory()
            losses[name] = step(images, labels, archs)
            start = time.perf_counter()
            step(images, labels, archs)
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
        pairs = zip(losses["ours"], losses["reference"], strict=True)
        difference = max(difference, *(abs(a - b) for a, b in pairs))
    # The ratio of each round compares the same architectures at nearly the same moment.
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["reference"], strict=True)]
    return {
        "resolution_px": resolution_px,
        "batch": batch,
        "subnets_per_step": subnets,
        "threads": torch.get_num_threads(),
        "same_memory": same_memory,
        "ours_images_per_s": round(batch / statistics.median(seconds["ours"]), 2),
        "reference_images_per_s": round(batch / statistics.median(seconds["reference"]), 2),
        "ratio": round(statistics.median(ratios), 3),
        "max_loss_difference": difference,
    }


def measure_on_cuda(
    *, resolution_px: int, batch: int, subnets: int, seconds: float
) -> Iterator[dict[str, object]]:
    """Yield the speed of our training step, then with that of the reference's if it is installed.

    Each side is measured in the steps that fit the seconds.
    """
    space = replace(
        reference_space("ofa_mbv3_d234_e346_k357_w1.0"), resolutions_px=(resolution_px,)
    )
    found: dict[str, object] = {
        "device": torch.cuda.get_device_name(),
        "resolution_px": resolution_px,
        "subnets_per_step": subnets,
    }
    ours = cuda_steps(space, batch=batch, subnets=subnets, seconds=seconds)
    found |= {f"ours_{name}": value for name, value in ours.items()}
    if find_spec("ofa") is None:
        yield found | {"reference_images_per_s": None, "why": "the package ofa is not installed"}
        return
    yield found
    theirs = reference_steps(space, batch=batch, subnets=subnets, seconds=seconds)
    ratio = theirs["images_per_s"] / ours["images_per_s"]
    found |= {f"reference_{name}": value for name, value in theirs.items()}
    yield found | {"ratio": round(1 / ratio, 2), "goal": GOALS.get(resolution_px)}


def cuda_steps(
    space: SearchSpace, *, batch: int, subnets: int, seconds: float
) -> dict[str, object]:
    """Time our training step: random subnets of one image size that learn from the largest."""
    device, [side_px] = torch.device("cuda"), space.resolutions_px
    supernet = build_supernet(space, num_classes=NUM_CLASSES, seed=0)
    largest = extract_subnet(build_supernet(space, num_classes=NUM_CLASSES, seed=1), space.largest)
    largest.to(device, memory_format=torch.channels_last).eval()
    phase = Phase(
        name="peers",
        archs=Sampled(space=space, per_step=subnets, sampling="uniform"),
        schedule=Schedule(epochs=1, warmup_epochs=0, learning_rate=LEARNING_RATE),
    )
    with stepping(
        supernet, phase, side_px=side_px, batch=batch, device=device, teacher=Teacher(largest)
    ) as update:
        figures = with_rates(pace(update, device=device, seconds=seconds), batch=batch)
        return figures | {"synchronizations": waits(update, steps=3)["a_step"]}


def reference_steps(
    space: SearchSpace, *, batch: int, subnets: int, seconds: float
) -> dict[str, object]:
    """Time the reference's update on CUDA, with mixed precision and channels-last features."""
    from reference_package import build_reference, build_reference_teacher

    device, [side_px] = torch.device("cuda"), space.resolutions_px
    networks = [build_reference(space, num_classes=NUM_CLASSES)]
    networks.append(build_reference_teacher(num_classes=NUM_CLASSES))
    supernet, teacher = (
        network.to(device, memory_format=torch.channels_last) for network in networks
    )
    step = reference_step(supernet.train(), teacher.eval(), space)
    images = torch.randn(batch, 3, side_px, side_px, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(NUM_CLASSES, (batch,), device=device)
    rng = np.random.default_rng(0)

    def update() -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            step(images, labels, list(space.archs(space.sample(rng, subnets))))

    return with_rates(pace(update, device=device, seconds=seconds), batch=batch)


def main() -> None:
    """Print one JSON object a resolution."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolutions-px", type=at_least(8), nargs="+", default=[224, 32])
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--subnets", type=at_least(1), default=1, help="subnets a step")
    parser.add_argument("--rounds", type=at_least(1), default=10)
    parser.add_argument("--seconds", type=above_zero, default=5.0, help="of each side, on CUDA")
    parser.add_argument("--batch-size", type=at_least(2), default=64, help="on CUDA")
    parser.add_argument("--same-memory", action="store_true")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a CUDA device, and torch finds none")
    for resolution_px in options.resolutions_px:
        if options.device == "cuda":
            for figures in measure_on_cuda(
                resolution_px=resolution_px,
                batch=options.batch_size,
                subnets=options.subnets,
                seconds=options.seconds,
            ):
                print(json.dumps(figures), flush=True)
            continue
        batch = 16 if resolution_px > 64 else 64
        result = compare(
            resolution_px=resolution_px,
            batch=batch,
            subnets=options.subnets,
            rounds=options.rounds,
            same_memory=options.same_memory,
        )
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(told(main))
