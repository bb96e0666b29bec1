"""Recipes of supernet training side by side, at equal seconds: one JSON object a recipe and size.

Every recipe gets the same images, the same space and the same seconds; its phases share them as its
epochs do. Then the same three architectures are taken out of each supernet: the smallest, the
largest, and the middle of every choice, all three in the coupled space as well. Accuracies are
fractions of the test images, as they come out of the supernet and, with ``--finetune``, after that
many epochs with the largest subnet as the teacher. The noise is the standard error by the number of
test images and, with several seeds, their spread. At last one object with the means of each recipe.

    python benchmarks/recipes.py [--seconds 120] [--recipes shipped compound ...] [--seeds 1]
        [--finetune 0] [--images FILE.parquet] [--device cpu | cuda]

Seconds are of all CPUs on the CPU, so that a busy machine trains as long as a quiet one, and of the
clock on CUDA. It needs torch, numpy, pyarrow, pillow and safetensors, as a bare GPU machine has
them. The images are those that come with the package, or the first 12,000 of a Parquet file with
the columns ``image`` (or ``img``) and ``label``.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmark_options import above_zero, at_least, told
from gpu_common import MemorySplit
from PIL import Image
from torch import Tensor

import ofa_pipeline.data
from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.data import Normalization
from ofa_pipeline.evaluation import CalibratedTeacher, SubnetEvaluator
from ofa_pipeline.spaces import mobilenet_v3_small_images
from ofa_pipeline.supernet import (
    Supernet,
    build_supernet,
    extract_subnet,
    sort_for_smaller,
    zero_last_scales,
)
from ofa_pipeline.training import (
    LargestOnly,
    Phase,
    Recipe,
    Sampled,
    Schedule,
    Teacher,
    TrainingImages,
    build_teaching,
    deterministic,
    finetune,
    train_phase,
)
from ofa_pipeline.training.step import TrainingStep

NORMALIZATION = Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
NUM_CLASSES = 10
BATCH = 64
EPOCH_STEPS = 8
"""Steps of what counts as an epoch here: phases can then have any length."""
PROBE_STEPS = 5
WARM_UP_STEPS = {"cpu": 2, "cuda": 16}
"""Before steps are timed: what is compiled or recorded at first is no part of a long training."""
CALIBRATION_IMAGES = 600
MAX_IMAGES = 12_000
MIN_IMAGES = (CALIBRATION_IMAGES + BATCH) * 5 // 4
"""A fifth is to test on, and a batch must be left to train on."""
DEPTHS, KERNELS, RATIOS = (1, 2, 3), (3, 5, 7), (2.0, 3.0, 4.0)
REGULARIZED = LargestOnly(dropout=0.2, drop_connect=0.2, label_smoothing=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A phase of a recipe: the keys that params.yaml has for it."""

    epochs: float
    """Beside those of the other phases: what share of the seconds it gets follows from them."""
    warmup_epochs: float = 0
    learning_rate: float
    cosine: tuple[float, float] = (0.0, 1.0)
    depths: tuple[int, ...] = DEPTHS
    kernel_sizes: tuple[int, ...] = KERNELS
    expand_ratios: tuple[float, ...] = RATIOS
    subnets_per_step: int = 3
    sampling: str = "sandwich"
    teacher: str = "in_place"
    loss: str = "ce_kd"
    largest_share: float | None = None
    largest_only: LargestOnly | None = None
    clip_value: float | None = None
    ramp_epochs: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A recipe."""

    phases: dict[str, Part]
    is_coupled: bool = False
    zero_gamma: bool = False


LARGEST = Part(
    epochs=4,
    warmup_epochs=1,
    learning_rate=0.4,
    cosine=(0, 0.3),
    depths=DEPTHS[-1:],
    kernel_sizes=KERNELS[-1:],
    expand_ratios=RATIOS[-1:],
    subnets_per_step=1,
    sampling="largest",
    teacher="previous",
)
ELASTIC = Part(epochs=11, learning_rate=1.2, cosine=(0.3, 1), largest_share=0.5)
ALONE_FIRST = replace(LARGEST, epochs=9, cosine=(0, 0.5))
SHRINKING = Part(epochs=2, learning_rate=1.2, teacher="previous")
SINGLE = Part(epochs=15, warmup_epochs=1, learning_rate=1.2, largest_only=REGULARIZED)
TRIALS: dict[str, Trial] = {
    "shipped": Trial(phases={"largest": LARGEST, "elastic": ELASTIC}),
    "shipped-ramp": Trial(phases={"largest": LARGEST, "elastic": replace(ELASTIC, ramp_epochs=4)}),
    "shipped-alpha": Trial(phases={"largest": LARGEST, "elastic": replace(ELASTIC, loss="alpha")}),
    "progressive-shrinking": Trial(
        phases={
            "largest": ALONE_FIRST,
            "kernel": replace(
                SHRINKING, cosine=(0.5, 0.6), depths=DEPTHS[-1:], expand_ratios=RATIOS[-1:]
            ),
            "depth_1": replace(
                SHRINKING,
                epochs=1,
                cosine=(0.6, 0.65),
                depths=DEPTHS[1:],
                expand_ratios=RATIOS[-1:],
            ),
            "depth_2": replace(SHRINKING, cosine=(0.65, 0.75), expand_ratios=RATIOS[-1:]),
            "expand_1": replace(SHRINKING, epochs=1, cosine=(0.75, 0.8), expand_ratios=RATIOS[1:]),
            "expand_2": replace(SHRINKING, epochs=4, cosine=(0.8, 1)),
        }
    ),
    "compound": Trial(
        is_coupled=True,
        phases={
            "largest": ALONE_FIRST,
            "compound_1": replace(
                SHRINKING, epochs=1, cosine=(0.5, 0.6), depths=DEPTHS[1:], expand_ratios=RATIOS[1:]
            ),
            "compound_2": replace(SHRINKING, epochs=5, cosine=(0.6, 1)),
        },
    ),
    "sandwich-kd": Trial(zero_gamma=True, phases={"elastic": replace(SINGLE, loss="kd")}),
    "sandwich-alpha": Trial(
        zero_gamma=True,
        phases={"elastic": replace(SINGLE, loss="alpha", subnets_per_step=4, clip_value=0.25)},
    ),
}


class TrainingSplit(MemorySplit):
    """An epoch of training is `EPOCH_STEPS` batches, drawn anew from all images."""

    @property
    def num_images(self) -> int:
        """Number of images of an epoch."""
        return min(len(self.labels), EPOCH_STEPS * BATCH)


@dataclass(kw_only=True)
class Bench:
    """Images, and where they are computed on."""

    train: Any
    calibration: Any
    test: Any
    side_px: int
    device: torch.device
    steps_per_epoch: float = field(init=False)

    def __post_init__(self) -> None:
        """Count the batches of a real epoch."""
        self.steps_per_epoch = len(self.train.labels) / BATCH

    @property
    def images(self) -> TrainingImages:
        """What is trained on."""
        return TrainingImages(split=self.train, normalization=NORMALIZATION)

    def space(self, trial: Trial) -> SearchSpace:
        """Return the space of the shipped params, at sizes that suit the images."""
        sizes = sorted({round(self.side_px * share / 4) * 4 for share in (0.57, 0.71, 0.86, 1.0)})
        return mobilenet_v3_small_images(
            stem_stride=1,
            stem_channels=16,
            group_channels=[16, 24, 40],
            group_strides=[2, 2, 2],
            head_channels=(96, 128),
            resolutions_px=sizes,
            depths=DEPTHS,
            kernel_sizes=KERNELS,
            expand_ratios=RATIOS,
        ).restrict(is_coupled=trial.is_coupled)

    def evaluator(self, supernet: Supernet, *, on_test: bool) -> SubnetEvaluator:
        """Return what calibrates and evaluates its subnets."""
        return SubnetEvaluator(
            supernet=supernet,
            calibration=self.calibration,
            evaluation=self.test if on_test else self.calibration,
            normalization=NORMALIZATION,
            batch_size=500,
            calibration_images=CALIBRATION_IMAGES,
            device=str(self.device),
        )

    def clock(self) -> float:
        """Return seconds: of all CPUs, or of the clock where another device computes."""
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def teacher(self, supernet: Supernet) -> Teacher:
        """Return the largest subnet as it is now, frozen, at its own image size."""
        largest = extract_subnet(supernet, supernet.space.largest)
        evaluator = self.evaluator(supernet, on_test=False)
        return Teacher(CalibratedTeacher(largest, evaluator), largest.arch.resolution_px)


def common_recipe(seed: int) -> Recipe:
    """Return what all recipes share: the shipped params."""
    return Recipe(
        batch_size=BATCH,
        momentum=0.9,
        weight_decay=1e-4,
        label_smoothing=0.1,
        distillation_weight=1.0,
        augmentation="crop_flip",
        seed=seed,
        batch_norm_images=32,
    )


def phase_of(name: str, part: Part, space: SearchSpace, *, steps: float) -> Phase:
    """Return a phase; `steps` are those of one of the recipe's epochs."""

    def epochs(count: float) -> int:
        return round(count * steps / EPOCH_STEPS)

    sampling: Any = part.sampling
    elastic = space.restrict(
        depths=part.depths, kernel_sizes=part.kernel_sizes, expand_ratios=part.expand_ratios
    )
    return Phase(
        name=name,
        archs=Sampled(space=elastic, per_step=part.subnets_per_step, sampling=sampling),
        schedule=Schedule(
            epochs=max(1, epochs(part.epochs)),
            warmup_epochs=epochs(part.warmup_epochs),
            learning_rate=part.learning_rate,
            cosine=part.cosine,
        ),
        first_share=part.largest_share,
        teaching=build_teaching(part.teacher, loss=part.loss),
        largest_only=part.largest_only,
        clip_value=part.clip_value,
        ramp_steps=round(part.ramp_epochs * steps),
    )


def new_supernet(trial: Trial, bench: Bench, *, seed: int) -> Supernet:
    """Return a supernet with random weights."""
    supernet = build_supernet(bench.space(trial), num_classes=NUM_CLASSES, dropout=0.1, seed=seed)
    if trial.zero_gamma:
        zero_last_scales(supernet)
    return supernet.to(bench.device)


def seconds_a_step(trial: Trial, bench: Bench) -> dict[str, float]:
    """Return the seconds that a step of each phase takes here: a median."""
    found, warm_up = {}, WARM_UP_STEPS[bench.device.type]
    batches = list(bench.train.shuffled_batches(BATCH, seed=0, epoch=0))
    for place, (name, part) in enumerate(trial.phases.items()):
        supernet = new_supernet(trial, bench, seed=0)
        phase = phase_of(name, part, supernet.space, steps=bench.steps_per_epoch)
        is_taught = place > 0 and not phase.teaching.is_in_place
        teacher = bench.teacher(supernet) if is_taught else None
        times = []
        with TrainingStep(
            supernet, phase, images=bench.images, recipe=common_recipe(0), teacher=teacher
        ) as step:
            for number in range(warm_up + PROBE_STEPS):
                begin = bench.clock()
                step.accumulate_gradients(batches[number % len(batches)], number)
                times.append(bench.clock() - begin)
        found[name] = statistics.median(times[warm_up:])
    return found


def train(trial: Trial, bench: Bench, *, steps: float, seed: int) -> tuple[Supernet, int, float]:
    """Train a supernet; return it with its steps and the seconds.

    Args:
        trial: The recipe.
        bench: Images and device.
        steps: Those of one of the recipe's epochs.
        seed: Of the weights, and of everything drawn.
    """
    supernet, total, before = new_supernet(trial, bench, seed=seed), 0, None
    begin = bench.clock()
    for name, part in trial.phases.items():
        phase = phase_of(name, part, supernet.space, steps=steps)
        is_taught = before is not None and not phase.teaching.is_in_place
        teacher = bench.teacher(supernet) if is_taught else None
        if before is not None:
            sort_for_smaller(
                supernet, trained=(before.expand_ratios, None), wanted=(part.expand_ratios, None)
            )
        train_phase(
            supernet, phase, images=bench.images, recipe=common_recipe(seed), teacher=teacher
        )
        total += phase.schedule.total_epochs * EPOCH_STEPS
        before = part
    return supernet, total, bench.clock() - begin


def three_sizes(space: SearchSpace) -> dict[str, Arch]:
    """Return the smallest, the middle of every choice, and the largest."""
    sizes = space.resolutions_px
    middle = space.arch(
        resolution_px=sizes[len(sizes) // 2],
        depths=DEPTHS[1],
        kernel_sizes=KERNELS[1],
        expand_ratios=RATIOS[1],
    )
    return {"smallest": space.smallest, "middle": middle, "largest": space.largest}


def lines_of(
    name: str, bench: Bench, *, budget_s: float, finetune_epochs: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Train one recipe and yield a line for each size."""
    trial = TRIALS[name]
    costs = seconds_a_step(trial, bench)
    an_epoch = sum(costs[key] * (p.epochs + p.warmup_epochs) for key, p in trial.phases.items())
    supernet, steps, seconds = train(trial, bench, steps=budget_s / an_epoch, seed=seed)
    evaluator = bench.evaluator(supernet, on_test=True)
    for size, arch in three_sizes(supernet.space).items():
        macs = estimate_cost(supernet.space, supernet.space.genes([arch]), num_classes=NUM_CLASSES)
        accuracy = evaluator.evaluate(arch).accuracy_top1
        line = {
            "recipe": name,
            "seed": seed,
            "size": size,
            "arch": str(arch),
            "macs_m": round(float(macs.macs[0]) / 1e6, 2),
            "accuracy_top1_extracted": round(accuracy, 4),
            "standard_error": round(standard_error(accuracy, evaluator), 4),
            "steps": steps,
            "seconds": round(seconds, 1),
        }
        if finetune_epochs:
            line |= finetuned(arch, bench, evaluator, epochs=finetune_epochs, seed=seed)
        yield line


def standard_error(accuracy: float, evaluator: SubnetEvaluator) -> float:
    """Return the standard error of an accuracy, by the number of test images."""
    return float(np.sqrt(accuracy * (1 - accuracy) / evaluator.evaluation.num_images))


def finetuned(
    arch: Arch, bench: Bench, evaluator: SubnetEvaluator, *, epochs: int, seed: int
) -> dict[str, Any]:
    """Return the accuracy after fine-tuning with the largest subnet as the teacher."""
    rate = 0.75 * LARGEST.learning_rate
    schedule = Schedule(
        epochs=max(1, round(epochs * bench.steps_per_epoch / EPOCH_STEPS)),
        warmup_epochs=0,
        learning_rate=rate,
    )
    begin = bench.clock()
    tuned = finetune(
        extract_subnet(evaluator.supernet, arch),
        bench.teacher(evaluator.supernet),
        schedule=schedule,
        images=bench.images,
        recipe=common_recipe(seed + 1),
    )
    seconds = bench.clock() - begin
    correct = correct_of(evaluator, tuned)
    return {
        "accuracy_top1_finetuned": round(float(correct.float().mean()), 4),
        "seconds_finetuning": round(seconds, 1),
    }


def correct_of(evaluator: SubnetEvaluator, subnet: Any) -> Tensor:  # noqa: ANN401 - of two kinds
    """Return which test images a subnet gets right, after calibration."""
    network = evaluator.calibrate(subnet).eval()
    answers = []
    with torch.no_grad():
        for images, labels in evaluator.images(subnet.arch.resolution_px):
            answers.append((network(images).argmax(dim=1) == labels.to(images.device)).cpu())
    return torch.cat(answers)


def summarize(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of a recipe over its seeds, and their spread where there are several."""
    summary: dict[str, Any] = {
        "recipe": lines[0]["recipe"],
        "seeds": len({line["seed"] for line in lines}),
    }
    for key in ("extracted", "finetuned"):
        for size in dict.fromkeys(line["size"] for line in lines):
            values = [
                line[f"accuracy_top1_{key}"]
                for line in lines
                if line["size"] == size and f"accuracy_top1_{key}" in line
            ]
            if values:
                spread = [round(statistics.stdev(values), 4)] if len(values) > 1 else []
                summary[f"{key}_{size}"] = [round(statistics.mean(values), 4), *spread]
    return summary


def load_images(path: Path | None) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, H, H) and labels in random order, always the same.

    Raises:
        SystemExit: If there is no such file, or it has not the columns, enough images, or images of
            one size.
    """
    own = Path(ofa_pipeline.data.__file__).parent / "fashion_mnist_sample.parquet"
    try:
        table = pq.read_table(path or own)
    except (OSError, pa.ArrowException) as error:
        raise SystemExit(f"--images must be a Parquet file, got {path}: {error}") from error
    names = set(table.column_names)
    image = next((name for name in ("image", "img") if name in names), None)
    if image is None or "label" not in names:
        raise SystemExit(
            f"{path} must have the columns image (or img) and label, it has {sorted(names)}"
        )
    if not pa.types.is_struct(table[image].type) or not pa.types.is_integer(table["label"].type):
        raise SystemExit(
            f"{path} must have images with their bytes and whole numbers as labels, it has columns "
            f"of {table[image].type} and {table['label'].type}"
        )
    table = table.slice(0, MAX_IMAGES)
    if table.num_rows < MIN_IMAGES:
        raise SystemExit(f"{path} must have at least {MIN_IMAGES} images, it has {table.num_rows}")
    pixels = [
        np.asarray(Image.open(BytesIO(value["bytes"])).convert("RGB"))
        for value in table[image].to_pylist()
    ]
    if not set(table["label"].to_pylist()) <= set(range(NUM_CLASSES)):
        raise SystemExit(f"{path} must have labels from 0 to {NUM_CLASSES - 1} alone")
    if len({picture.shape for picture in pixels}) > 1:
        raise SystemExit(f"{path} must have images of one size")
    order = np.random.default_rng(0).permutation(len(pixels))
    images = torch.from_numpy(np.stack(pixels)[order]).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(table["label"].to_pylist())[order]


def open_bench(path: Path | None, device: str) -> Bench:
    """Return images: a fifth to test on, some to calibrate on, the rest to train on."""
    images, labels = load_images(path)
    num_test = len(labels) // 5
    held_out = num_test + CALIBRATION_IMAGES
    return Bench(
        test=MemorySplit(images[:num_test], labels[:num_test]),
        calibration=MemorySplit(images[num_test:held_out], labels[num_test:held_out]),
        train=TrainingSplit(images[held_out:], labels[held_out:]),
        side_px=images.shape[-1],
        device=torch.device(device),
    )


def main() -> int:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipes", nargs="+", default=list(TRIALS), choices=list(TRIALS))
    parser.add_argument("--seconds", type=above_zero, default=120, help="of training, each recipe")
    parser.add_argument("--seeds", type=at_least(1), default=1)
    parser.add_argument("--finetune", type=at_least(0), default=0, help="epochs of fine-tuning")
    parser.add_argument("--images", type=Path, help="a Parquet file")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a CUDA device, torch sees none: use --device cpu")
    bench = open_bench(options.images, options.device)
    facts = {
        "images": options.images.name if options.images else "fashion_mnist_sample",
        "device": options.device,
    }
    summaries: list[Callable[[], dict[str, Any]]] = []
    with deterministic(threads=1):
        for name in options.recipes:
            lines = []
            for seed in range(options.seeds):
                for line in lines_of(
                    name,
                    bench,
                    budget_s=options.seconds,
                    finetune_epochs=options.finetune,
                    seed=seed,
                ):
                    print(json.dumps(facts | line), flush=True)
                    lines.append(line)
            summaries.append(lambda lines=lines: summarize(lines))
    for summary in summaries:
        print(json.dumps(facts | summary()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
