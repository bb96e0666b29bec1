"""Seconds that a supernet takes for an epoch of 50,000 images of 32 pixels, four subnets a step.

    python benchmarks/supernet_epoch.py [--device cuda] [--batch-sizes 64 512] [--images 50000]

The space and the recipe of the shipped params (sandwich, the largest teaches, crops and mirror
images, batch norm by groups of 32), through the training loop itself, on random images. The first
epoch warms up; the second counts, without validation. With fewer images it says what it measured
and what that makes for 50,000. Prints one JSON object a batch size.
"""

import argparse
import json
import time

import torch
from gpu_common import NUM_CLASSES, random_images, recipe, sandwich, small_space

from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import Hooks, deterministic, train_phase

SIDE_PX = 32
EPOCH_IMAGES = 50_000
SUBNETS = 4


def measure(device: torch.device, *, batch_size: int, num_images: int) -> dict[str, object]:
    """Train two epochs and return the figures of the second."""
    space = small_space()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0).to(device)
    ends: list[float] = []

    def note() -> dict[str, float]:
        ends.append(time.perf_counter())  # after the losses were read: the device is done
        return {}

    with deterministic(threads=1):
        train_phase(
            supernet,
            sandwich(space, per_step=SUBNETS, epochs=2),
            images=random_images(num_images, SIDE_PX),
            recipe=recipe(batch_size=batch_size),
            hooks=Hooks(validate=note),
        )
    steps = num_images // batch_size
    seconds = ends[1] - ends[0]
    rate = steps * batch_size / seconds
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "batch_size": batch_size,
        "subnets_per_step": SUBNETS,
        "images": steps * batch_size,
        "seconds": round(seconds, 3),
        "step_ms": round(1000 * seconds / steps, 2),
        "images_per_s": round(rate),
        "seconds_for_50000": round(EPOCH_IMAGES / rate, 2),
    }


def main() -> None:
    """Print one JSON object a batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--images", type=int, default=EPOCH_IMAGES)
    options = parser.parse_args()
    for batch_size in options.batch_sizes:
        found = measure(
            torch.device(options.device), batch_size=batch_size, num_images=options.images
        )
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
