"""Training step of our supernet against the reference's, alternately in one process.

The same weights, architectures, images, labels, threads and loss on both sides: teacher forward,
forward and backward of each sampled subnet, Nesterov SGD. Prints one JSON object a setting.

    python benchmarks/train_step.py [--resolutions-px 224 32] [--threads 2]

What is different: channels-last features and weights, torch's own hard-swish and hard-sigmoid
instead of chains of elementwise operations, squeeze-excite as matrix products on pooled
features, one reduction for global pooling, depthwise weight gradients by bands of columns
(docs/adr/0027), the teacher folded, a fused optimizer; and freed memory is kept, as in the training
stage (`ofa_pipeline.memory`). ``--same-memory`` leaves glibc's own settings on both sides instead.
Each side runs each step twice and the second counts, so that neither pays for the other's memory.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from reference_package import (
    activate,
    build_reference,
    build_reference_teacher,
    copy_teacher_weights,
    copy_weights,
    reference_loss,
    reference_parameter_groups,
    return_freed_memory,
)
from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.memory import keep_freed_memory
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import Supernet, build_supernet, extract_subnet, fold_batch_norm
from ofa_pipeline.training.losses import training_loss
from ofa_pipeline.training.optimizer import build_optimizer, set_learning_rate

NUM_CLASSES = 100
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 3e-5
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


def reference_step(reference: nn.Module, teacher: nn.Module) -> Step:
    """Return the reference's update, as its progressive_shrinking.py does it, on the CPU."""
    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
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
    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
    supernet = build_supernet(space, num_classes=NUM_CLASSES)
    reference = build_reference(space, num_classes=NUM_CLASSES)
    copy_weights(supernet, reference)
    reference_teacher = build_reference_teacher(num_classes=NUM_CLASSES)
    copy_teacher_weights(reference, reference_teacher)
    teacher = fold_batch_norm(extract_subnet(supernet, space.largest))
    sides = {
        "ours": our_step(supernet.train(), teacher.to(memory_format=torch.channels_last)),
        "reference": reference_step(reference.train(), reference_teacher.eval()),
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


def main() -> None:
    """Print one JSON object a resolution."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolutions-px", type=int, nargs="+", default=[224, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--subnets", type=int, default=1, help="subnets a step")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--same-memory", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for resolution_px in options.resolutions_px:
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
    main()
