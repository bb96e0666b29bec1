"""Speed of decoding, of the evaluation transform and of the augmentation, beside a training step.

Prints one JSON object a measurement; the augmentation says what share of a training step it is.

    python benchmarks/load_dataset.py [--threads 2]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ofa_pipeline.data import (
    DatasetOptions,
    Normalization,
    open_dataset,
    prepare_dataset,
)
from ofa_pipeline.data.transforms import Augmentation, augment, resize_normalize
from ofa_pipeline.params import load_params
from ofa_pipeline.supernet import build_supernet

BATCH = 64
PARAMS = Path(__file__).parents[1] / "params.yaml"
SETTINGS: tuple[tuple[int, int, Augmentation], ...] = (
    (28, 28, "crop_flip"),
    (28, 16, "crop_flip"),
    (28, 28, "random_resized_crop"),
    (28, 16, "random_resized_crop"),
)


def best_s(work: Callable[[], object], *, repeats: int = 20) -> float:
    """Return the shortest of some durations: what is left when nothing else runs."""
    work()
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return min(durations)


def show(what: str, images: int, duration_s: float, **more: object) -> None:
    """Print a measurement."""
    record = {"what": what, "images_per_s": round(images / duration_s), **more}
    print(json.dumps(record), flush=True)


def measure_decoding() -> None:
    """Decode the shipped sample into memory, and stream it."""
    dataset_params = load_params(PARAMS).dataset.model_dump()
    with tempfile.TemporaryDirectory() as name:
        prepare_dataset(DatasetOptions(**dataset_params), Path(name), base=Path.cwd())
        split = open_dataset(Path(name)).split("train")
        start = time.perf_counter()
        split.images()
        show("decode into memory", split.num_images, time.perf_counter() - start)
        for limit, what in ((1 << 30, "batches from memory"), (0, "batches streamed")):
            split = open_dataset(Path(name), memory_limit_bytes=limit).split("train")
            list(split.shuffled_batches(BATCH, seed=0, epoch=0, start_batch=90))
            start = time.perf_counter()
            count = sum(len(b.ids) for b in split.shuffled_batches(BATCH, seed=0, epoch=1))
            show(what, count, time.perf_counter() - start, batch=BATCH)


def measure_transforms() -> None:
    """Time the transforms, and a forward and backward pass of the default supernet."""
    supernet = build_supernet(load_params(PARAMS).space.build(), num_classes=10)
    even = Normalization(mean=(0.3,) * 3, std=(0.3,) * 3)
    generator = torch.Generator().manual_seed(0)
    for side_px, resolution_px, kind in SETTINGS:
        images = torch.randint(0, 256, (BATCH, 3, side_px, side_px), dtype=torch.uint8)

        def evaluate(pixels: torch.Tensor = images, side: int = resolution_px) -> torch.Tensor:
            return resize_normalize(pixels, resolution_px=side, normalization=even)

        def change(
            pixels: torch.Tensor = images, side: int = resolution_px, name: Augmentation = kind
        ) -> torch.Tensor:
            return augment(
                pixels, kind=name, resolution_px=side, generator=generator, normalization=even
            )

        inputs = evaluate().contiguous(memory_format=torch.channels_last)

        def train(pixels: torch.Tensor = inputs) -> None:
            supernet(pixels, supernet.space.largest).square().mean().backward()

        step_s, augment_s = best_s(train), best_s(change)
        setting = {"side_px": side_px, "resolution_px": resolution_px, "batch": BATCH}
        show("evaluation transform", BATCH, best_s(evaluate), **setting)
        share = round(augment_s / (augment_s + step_s), 4)
        show(kind, BATCH, augment_s, share_of_training_step=share, **setting)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description="Speed of loading and transforming images.")
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    measure_decoding()
    measure_transforms()


if __name__ == "__main__":
    main()
