"""Images a second of one phase by 1, 2, ... ranks, and how far their weights are apart.

    python benchmarks/scaling.py [--ranks 1 2] [--steps 20] [--batch-norm-images 32]
        [--dtype float32] [--smooth] [--launch "torchrun --standalone --nproc-per-node={ranks}"]

The space and the recipe of the shipped params (three subnets a step, the largest teaches), random
images of 28 pixels. Each number of ranks starts from the same weights and takes the same steps;
rates leave out the first two. Prints one JSON object a number of ranks: ``{"ranks", "dtype",
"batch_size", "images_per_s", "max_weight_difference", "by_step"}``: the largest difference of a
weight from the first number's, after one step and after each. Ranks add the terms of a gradient in
another order, so the first step shows what they compute, and the steps after it how training
magnifies rounding: in float32 a feature near the kink of an activation falls on its other side now
and then, which moves a gradient by much more. In float64 that is too rare to be met.
On CPU cores, ranks take what threads of one process would take as well: the figure to look at there
is the difference.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from ofa_pipeline.compute import Ranks, compute_device
from ofa_pipeline.data import Batch, Normalization, Split
from ofa_pipeline.launching import Mailbox, Request, launch
from ofa_pipeline.progress import SILENT, ProgressEvent, Reporter
from ofa_pipeline.spaces import mobilenet_v3_small_images
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import (
    Hooks,
    Phase,
    Recipe,
    Sampled,
    Schedule,
    TrainingImages,
    build_teaching,
    deterministic,
    train_phase,
)

NUM_CLASSES = 10
SIDE_PX = 28
WARM_STEPS = 2
RESULT = "result.json"
WEIGHTS = "weights.safetensors"
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class RandomImages:
    """Random images in memory, with what training uses of `ofa_pipeline.data.Split`."""

    def __init__(self, count: int) -> None:
        """Draw uint8 images and labels."""
        generator = torch.Generator().manual_seed(0)
        shape = (count, 3, SIDE_PX, SIDE_PX)
        self._images = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
        self._labels = torch.randint(NUM_CLASSES, (count,), generator=generator)

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self._labels)

    @property
    def fits_memory(self) -> bool:
        """Batches are copied to the device one by one."""
        return False

    def shuffled_batches(
        self, batch_size: int, *, seed: int, epoch: int, start_batch: int, rows: slice
    ) -> Iterator[Batch]:
        """Yield some rows of whole batches, in an order of the seed and the epoch."""
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(self.num_images))
        for batch in order.split(batch_size)[start_batch:]:
            ids = batch[rows]
            yield Batch(self._images[ids], self._labels[ids], ids)


@contextmanager
def without_kinks() -> Iterator[None]:
    """Put smooth activations in the place of those with kinks while the body runs."""

    def activate(x: torch.Tensor, activation: str | None) -> torch.Tensor:
        return x if activation is None else F.silu(x)

    with (
        patch("ofa_pipeline.supernet.blocks.activate", activate),
        patch("ofa_pipeline.supernet.network.activate", activate),
        patch("torch.nn.functional.relu", F.silu),
        patch("torch.nn.functional.hardsigmoid", torch.sigmoid),
    ):
        yield


def train_rank(arguments: Mapping[str, Any], ranks: Ranks, _: Reporter) -> None:
    """Train together with the other ranks; the first writes weights and rate."""
    space = mobilenet_v3_small_images(
        stem_stride=1,
        stem_channels=16,
        group_channels=[16, 24, 40],
        group_strides=[2, 2, 2],
        head_channels=(96, 128),
        resolutions_px=(16, 20, 24, 28),
        depths=(1, 2, 3),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(2.0, 3.0, 4.0),
    )
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0)
    batch_size, steps = arguments["batch_size"], arguments["steps"]
    split = cast("Split", RandomImages(batch_size * steps))
    normalization = Normalization(mean=(0.5,) * 3, std=(0.25,) * 3)
    times: list[float] = []
    weights: list[torch.Tensor] = []

    def note(event: ProgressEvent) -> None:
        if event.total:
            times.append(time.perf_counter())
            weights.append(torch.cat([p.detach().flatten() for p in supernet.parameters()]).cpu())

    kinks = without_kinks() if arguments["smooth"] else nullcontext()
    with deterministic(threads=1), kinks:
        train_phase(
            supernet.to(compute_device(), DTYPES[arguments["dtype"]]),
            Phase(
                name="scaling",
                archs=Sampled(space=space, per_step=3, sampling="sandwich"),
                schedule=Schedule(epochs=1, warmup_epochs=0, learning_rate=0.1),
                first_share=0.5,
                teaching=build_teaching("in_place"),
            ),
            images=TrainingImages(split=split, normalization=normalization),
            recipe=Recipe(
                batch_size=batch_size,
                momentum=0.9,
                weight_decay=1e-4,
                label_smoothing=0.1,
                distillation_weight=1.0,
                augmentation="crop_flip",
                seed=0,
                batch_norm_images=arguments["batch_norm_images"],
            ),
            hooks=Hooks(
                ranks=ranks,
                reporter=Reporter(note, interval_s=0),
            ),
        )
    if ranks.is_first:
        folder = Path(arguments["folder"])
        save_file({"weights": torch.stack(weights)}, folder / WEIGHTS)
        rate = batch_size * (steps - 1 - WARM_STEPS) / (times[steps - 1] - times[WARM_STEPS])
        (folder / RESULT).write_text(json.dumps(rate))


def main() -> None:
    """Train with each number of ranks and print what came out."""
    from benchmark_options import at_least  # ranks import this file as a module, without its folder

    parser = argparse.ArgumentParser(description="Compare numbers of ranks.")
    parser.add_argument("--ranks", type=at_least(1), nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=at_least(WARM_STEPS + 2), default=20)
    parser.add_argument("--batch-size", type=at_least(2), default=64)
    parser.add_argument("--batch-norm-images", type=at_least(2), default=32)
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--smooth", action="store_true", help="activations without kinks")
    parser.add_argument("--launch", default="torchrun --standalone --nproc-per-node={ranks}")
    options = parser.parse_args()
    try:
        options.launch.format(ranks=1)
    except (LookupError, ValueError) as error:
        parser.error(
            f"--launch must have {{ranks}} where the number of ranks goes, and {{{{ for a brace, "
            f"got {options.launch!r} ({type(error).__name__}: {error})"
        )
    size, group = options.batch_size, min(options.batch_norm_images, options.batch_size)
    if size % group or max(options.ranks) > size // group:
        parser.error(
            f"--batch-size must be a multiple of --batch-norm-images, with as many groups as the "
            f"most of --ranks, got {size}, {group} and {max(options.ranks)}"
        )
    weights: dict[int, torch.Tensor] = {}
    for number in options.ranks:
        with tempfile.TemporaryDirectory() as folder:
            arguments = {**vars(options), "folder": folder}
            request = Request.of_this_process("benchmarks.scaling:train_rank", arguments)
            mailbox = Mailbox(Path(folder) / "ranks")
            line = options.launch.format(ranks=number)
            launch(line, request, mailbox=mailbox, reporter=SILENT)
            rate = json.loads((Path(folder) / RESULT).read_text())
            weights[number] = load_file(Path(folder) / WEIGHTS)["weights"]
        apart = (weights[number] - weights[options.ranks[0]]).abs().amax(dim=1).tolist()
        figures = {
            "ranks": number,
            "dtype": options.dtype,
            "activations": "smooth" if options.smooth else "with kinks",
            "batch_size": options.batch_size,
            "images_per_s": round(rate, 1),
            "max_weight_difference": apart[0],
            "by_step": [float(f"{difference:.2g}") for difference in apart],
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    from benchmark_options import told

    sys.exit(told(main))
