"""What must hold on a CUDA device, one JSON object a check: PASS, FAIL or NOT RUN, with figures.

Most valuable checks first, each printed as soon as it is known. It runs on a bare machine: torch,
numpy, pyarrow, pillow and safetensors are all that it imports besides this package, and the images
that come with the package all that it reads. Without a CUDA device the checks that need one are
reported as NOT RUN, the others run on the CPU. It ends with 1 when a check fails.

    python benchmarks/gpu_acceptance.py [--only NAME ...] [--seconds 600]

A check that could only begin after ``--seconds`` is reported as NOT RUN. Speeds are medians of
rounds after a warm-up, with the device synchronized around each; they have no goal here but the
ones that are named in their line.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn

import ofa_pipeline.data
from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.data import Batch, Normalization
from ofa_pipeline.evaluation import CalibratedTeacher, SubnetEvaluator
from ofa_pipeline.spaces import mobilenet_v3_small_images, reference_space
from ofa_pipeline.supernet import Supernet, build_supernet, extract_subnet
from ofa_pipeline.training import (
    Checkpoints,
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
from ofa_pipeline.training.step import TrainingStep

NORMALIZATION = Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
NUM_CLASSES = 10
BATCH = 64
LOGITS_TOLERANCE = 1e-4
BF16_LOSS_TOLERANCE = 0.02
ACCURACY_TOLERANCE = 0.03
FLAT_MEMORY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found."""

    is_passed: bool
    figures: dict[str, Any]


class NeedsCudaError(Exception):
    """The check means nothing without a CUDA device."""


class KilledError(Exception):
    """Training is stopped in the middle of an epoch."""


class MemorySplit:
    """Images in memory, with the methods of `ofa_pipeline.data.Split` that training uses."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Hold uint8 images (N, 3, H, H) and labels (N,)."""
        self._images, self.labels = images, labels

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self.labels)

    def batches(self, batch_size: int, *, order: Sequence[int] | None = None) -> Iterator[Batch]:
        """Yield images in stored order, or in a given one."""
        ids = torch.arange(self.num_images) if order is None else torch.tensor(list(order))
        for chosen in torch.split(ids, batch_size):
            yield Batch(self._images[chosen], self.labels[chosen], chosen)

    def shuffled_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start_batch: int = 0,
        rows: slice = slice(None),
    ) -> Iterator[Batch]:
        """Yield whole batches, or some rows of each, in an order of the seed and the epoch."""
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(self.num_images))
        for batch in order.split(batch_size)[start_batch : self.num_images // batch_size]:
            chosen = batch[rows]
            yield Batch(self._images[chosen], self.labels[chosen], chosen)


def cuda() -> torch.device:
    """Return the device.

    Raises:
        NeedsCudaError: If there is none.
    """
    if not torch.cuda.is_available():
        raise NeedsCudaError("no CUDA device")
    return torch.device("cuda")


def small_space() -> SearchSpace:
    """Return the space of the shipped params, for images of 32 px."""
    return mobilenet_v3_small_images(
        stem_stride=1,
        stem_channels=16,
        group_channels=[16, 24, 40],
        group_strides=[2, 2, 2],
        head_channels=(96, 128),
        resolutions_px=(20, 24, 28, 32),
        depths=(1, 2, 3),
        kernel_sizes=(3, 5, 7),
        expand_ratios=(2.0, 3.0, 4.0),
    )


def random_images(count: int, side_px: int) -> TrainingImages:
    """Return images of noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side_px, side_px), generator=generator)
    labels = torch.randint(NUM_CLASSES, (count,), generator=generator)
    return training_images(images.to(torch.uint8), labels)


def training_images(images: torch.Tensor, labels: torch.Tensor) -> TrainingImages:
    """Return images to train on."""
    split: Any = MemorySplit(images, labels)
    return TrainingImages(split=split, normalization=NORMALIZATION)


def recipe(*, batch_size: int = BATCH) -> Recipe:
    """Return the recipe of the shipped params."""
    return Recipe(
        batch_size=batch_size,
        momentum=0.9,
        weight_decay=1e-4,
        label_smoothing=0.1,
        distillation_weight=1.0,
        augmentation="crop_flip",
        seed=0,
        batch_norm_images=32,
    )


def sandwich(space: SearchSpace, *, per_step: int = 3, epochs: int = 1) -> Phase:
    """Return a phase as the last of the shipped params."""
    return Phase(
        name="elastic",
        archs=Sampled(space=space, per_step=per_step, sampling="sandwich"),
        schedule=Schedule(epochs=epochs, warmup_epochs=0, learning_rate=0.1),
        first_share=0.5,
        teaching=build_teaching("in_place"),
    )


@contextmanager
def float32() -> Iterator[None]:
    """Compute in whole float32 while the body runs: no bfloat16, no TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    exact = ("ofa_pipeline.training.precision", "ofa_pipeline.training.step")
    try:
        with ExitStack() as stack:
            for module in exact:
                stack.enter_context(patch(f"{module}.mixes_precision", lambda _: False))
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    difference = found.double().cpu() - expected.double().cpu()
    return float(difference.norm() / expected.double().cpu().norm())


def float32_logits() -> Result:
    """Compare logits of CPU and CUDA in float32, in evaluation and training mode."""
    device, worst = cuda(), 0.0
    for space, side_px in (
        (small_space(), 32),
        (reference_space("ofa_mbv3_d234_e346_k357_w1.0"), 128),
    ):
        supernet = build_supernet(space, num_classes=NUM_CLASSES, seed=0)
        archs = [
            space.largest,
            space.smallest,
            *space.archs(space.sample(np.random.default_rng(0), 3)),
        ]
        images = torch.randn(8, 3, side_px, side_px, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), float32():
            for is_training in (False, True):
                expected = [supernet.train(is_training)(images, arch) for arch in archs]
                supernet.to(device)
                found = [supernet(images.to(device), arch) for arch in archs]
                supernet.cpu()
                worst = max(worst, *map(relative, found, expected))
    return Result(worst <= LOGITS_TOLERANCE, {"relative_difference": worst})


def gradients(device: torch.device, *, seed: int = 0) -> tuple[float, torch.Tensor]:
    """Return loss and gradient of a step of the shipped recipe."""
    space = small_space()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.0, seed=seed).to(device)
    images = random_images(BATCH, 32)
    batch = next(iter(images.split.batches(BATCH)))
    phase = sandwich(space)
    with TrainingStep(supernet, phase, images=images, recipe=recipe(), teacher=None) as step:
        loss = float(step.accumulate_gradients(batch, 0))
    return loss, torch.cat([p.grad.flatten() for p in supernet.parameters() if p.grad is not None])


def float32_gradient() -> Result:
    """Compare the gradient of a step of CPU and CUDA in float32."""
    device = cuda()
    loss, expected = gradients(torch.device("cpu"))
    with float32():
        on_device, found = gradients(device)
    figures = {"loss": [loss, on_device], "relative_difference": relative(found, expected)}
    return Result(figures["relative_difference"] <= 10 * LOGITS_TOLERANCE, figures)


def bf16_loss() -> Result:
    """Compare the loss of a step in bfloat16 with that in float32."""
    device = cuda()
    with float32():
        expected, exact = gradients(device)
    found, rounded = gradients(device)
    error = abs(found - expected) / expected
    figures = {"loss": [expected, found], "gradient_difference": relative(rounded, exact)}
    return Result(error <= BF16_LOSS_TOLERANCE, figures | {"relative_difference": error})


def teacher_statistics() -> Result:
    """Check that a teacher calibrated inside a step has the statistics of float32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    space = small_space()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, seed=0).to(device)
    split: Any = random_images(256, 32).split
    evaluator = SubnetEvaluator(
        supernet=supernet,
        calibration=split,
        evaluation=split,
        normalization=NORMALIZATION,
        batch_size=64,
        calibration_images=256,
        device=str(device),
    )
    images = next(iter(evaluator.images(32)))[0]
    subnet = extract_subnet(supernet, space.largest)
    with float32():
        expected = CalibratedTeacher(subnet, evaluator)(images)
        inside = CalibratedTeacher(subnet, evaluator)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            inside(images)
        found = inside(images)
    figures = {"relative_difference": relative(found, expected)}
    return Result(figures["relative_difference"] <= LOGITS_TOLERANCE, figures)


def trained(
    device: torch.device, *, folder: Path | None = None, stop_after: int | None = None
) -> Supernet:
    """Return a supernet after two short epochs; with `stop_after`, killed after some steps."""
    space, images = small_space(), random_images(10 * BATCH, 32)
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0).to(device)
    hooks = Hooks(checkpoints=Checkpoints(folder, interval_s=0))
    original, count = TrainingStep.accumulate_gradients, 0

    def counted(step: TrainingStep, batch: Batch, number: int) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == stop_after:
            raise KilledError
        return original(step, batch, number)

    with patch.object(TrainingStep, "accumulate_gradients", counted), deterministic(threads=1):
        train_phase(
            supernet, sandwich(space, epochs=2), images=images, recipe=recipe(), hooks=hooks
        )
    return supernet


def weights(network: nn.Module) -> torch.Tensor:
    """Return all parameters in a row."""
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def same_twice() -> Result:
    """Train twice with the same seed."""
    device = cuda()
    one, two = weights(trained(device)), weights(trained(device))
    return Result(torch.equal(one, two), {"relative_difference": relative(one, two)})


def kill_and_resume() -> Result:
    """Train, be stopped in the middle, go on from the checkpoint, and compare the weights."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    whole = weights(trained(device))
    with tempfile.TemporaryDirectory() as folder:
        with suppress(KilledError):
            trained(device, folder=Path(folder), stop_after=14)
        resumed = weights(trained(device, folder=Path(folder)))
    return Result(torch.equal(whole, resumed), {"relative_difference": relative(resumed, whole)})


@contextmanager
def stepping(
    space: SearchSpace, side_px: int, *, batch: int, per_step: int
) -> Iterator[Callable[[], None]]:
    """Yield a function that makes one update with images that are new in each step."""
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0).to(cuda())
    supernet.to(memory_format=torch.channels_last)
    images = random_images(4 * batch, side_px)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.01, momentum=0.9, fused=True)
    phase, number = sandwich(space, per_step=per_step), 0
    batches = list(images.split.batches(batch))
    common = recipe(batch_size=batch)
    with TrainingStep(supernet, phase, images=images, recipe=common, teacher=None) as step:

        def update() -> None:
            nonlocal number
            step.accumulate_gradients(batches[number % len(batches)], number)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
            number += 1

        yield update


def no_synchronization() -> Result:
    """Count what waits for the device in twenty steps."""
    import warnings

    with stepping(small_space(), 32, batch=BATCH, per_step=4) as update:
        update()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for _ in range(20):
                    update()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = sorted({f"{Path(w.filename).name}:{w.lineno}" for w in caught})
    return Result(not caught, {"a_step": len(caught) / 20, "places": places})


def flat_memory() -> Result:
    """Compare the memory in use after 50 and after 300 steps."""
    with stepping(small_space(), 32, batch=BATCH, per_step=3) as update:
        for _ in range(50):
            update()
        before = torch.cuda.memory_allocated()
        for _ in range(250):
            update()
        growth = torch.cuda.memory_allocated() - before
    figures = {"growth_bytes": growth, "peak_bytes": torch.cuda.max_memory_allocated()}
    return Result(growth <= FLAT_MEMORY_BYTES, figures)


def step_speed(space: SearchSpace, side_px: int, *, batch: int) -> dict[str, Any]:
    """Return images a second of training steps of four subnets, and the kernels of one."""
    seconds = []
    with stepping(space, side_px, batch=batch, per_step=4) as update:
        for number in range(25):
            torch.cuda.synchronize()
            start = time.perf_counter()
            update()
            torch.cuda.synchronize()
            if number >= 5:  # after the warm-up
                seconds.append(time.perf_counter() - start)
        activities = [torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            update()
            torch.cuda.synchronize()
    kernels = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    median = statistics.median(seconds)
    return {
        "batch": batch,
        "step_ms": round(1000 * median, 2),
        "images_per_s": round(batch / median),
        "s_per_50000_images": round(50_000 * median / batch, 1),
        "kernels": len(kernels),
        "device_busy_ms": round(sum(e.device_time_total for e in kernels) / 1000, 2),
    }


def speed_32px() -> Result:
    """Time training steps at 32 px with a batch of 64 and of 512 images."""
    found = [step_speed(small_space(), 32, batch=batch) for batch in (BATCH, 512)]
    return Result(True, {"settings": found})


def speed_224px() -> Result:
    """Time training steps of the reference's MobileNetV3 at 224 px."""
    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
    return Result(True, {"settings": [step_speed(space, 224, batch=BATCH)]})


def three_epochs() -> Result:
    """Train three epochs of the shipped images on CUDA and on the CPU, and compare accuracies."""
    device = cuda()
    images, labels = shipped_images()
    train, test = images[:8000], images[8000:]
    accuracies = {}
    space = small_space().restrict(resolutions_px=[28])
    for name in (device, torch.device("cpu")):
        supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0).to(name)
        schedule = Schedule(epochs=3, warmup_epochs=0, learning_rate=0.2)
        phase = replace(sandwich(space), schedule=schedule)
        data = training_images(train, labels[:8000])
        train_phase(supernet, phase, images=data, recipe=recipe())
        held_out: Any = MemorySplit(test, labels[8000:])
        evaluator = SubnetEvaluator(
            supernet=supernet,
            calibration=data.split,
            evaluation=held_out,
            normalization=NORMALIZATION,
            batch_size=500,
            calibration_images=600,
            device=str(name),
        )
        found = [evaluator.evaluate(a).accuracy_top1 for a in (space.largest, space.smallest)]
        accuracies[name.type] = [round(accuracy, 4) for accuracy in found]
    worst = max(abs(a - b) for a, b in zip(*accuracies.values(), strict=True))
    return Result(worst <= ACCURACY_TOLERANCE, {"accuracy_top1": accuracies, "difference": worst})


def shipped_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images (N, 3, 28, 28) and labels that come with the package."""
    folder = Path(ofa_pipeline.data.__file__).parent
    table = pq.read_table(folder / "fashion_mnist_sample.parquet")
    pictures = [
        np.asarray(Image.open(BytesIO(value["bytes"])).convert("RGB"))
        for value in table["image"].to_pylist()
    ]
    order = np.random.default_rng(0).permutation(len(pictures))
    images = torch.from_numpy(np.stack(pictures)[order]).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(table["label"].to_pylist())[order]


CHECKS: tuple[Callable[[], Result], ...] = (
    float32_logits,
    float32_gradient,
    bf16_loss,
    teacher_statistics,
    kill_and_resume,
    same_twice,
    no_synchronization,
    flat_memory,
    speed_32px,
    speed_224px,
    three_epochs,
)


def run(check: Callable[[], Result]) -> dict[str, Any]:
    """Return the line of a check; one that breaks has failed."""
    start = time.perf_counter()
    try:
        result = check()
        verdict, figures = "PASS" if result.is_passed else "FAIL", result.figures
    except NeedsCudaError as error:
        verdict, figures = "NOT RUN", {"why": str(error)}
    except Exception as error:  # noqa: BLE001 - one check must not hide the others
        verdict, figures = "FAIL", {"error": f"{type(error).__name__}: {error}"[:300]}
    seconds = round(time.perf_counter() - start, 1)
    return {"check": check.__name__, "verdict": verdict, "seconds": seconds, **figures}


def main() -> None:
    """Print what it runs on, then one JSON object a check."""
    names = [check.__name__ for check in CHECKS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    start = time.perf_counter()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(json.dumps({"torch": torch.__version__, "cuda_device": device}), flush=True)
    verdicts = []
    for check in CHECKS:
        if check.__name__ not in options.only:
            continue
        line: dict[str, Any] = {"check": check.__name__, "verdict": "NOT RUN", "why": "out of time"}
        if time.perf_counter() - start < options.seconds:
            line = run(check)
        verdicts.append(line["verdict"])
        print(json.dumps(line), flush=True)
    sys.exit(1 if "FAIL" in verdicts else 0)


if __name__ == "__main__":
    main()
