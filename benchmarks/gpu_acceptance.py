"""What must hold on a CUDA device, one JSON object a check: PASS, FAIL or NOT RUN, with figures.

Most valuable checks first, each printed as soon as it is known. It runs on a bare machine: torch,
numpy, pyarrow, pillow and safetensors are all that it imports besides this package, and the images
that come with the package all that it reads. Without a CUDA device the checks that need one are
reported as NOT RUN, the others run on the CPU. It ends with 1 when a check fails.

    python benchmarks/gpu_acceptance.py [--only NAME ...] [--seconds 600] [--seconds-each 3]

A gradient in float32 is a thousandth from that in float64, on any device: ReLUs and batch norms of
few values magnify rounding. So equal functions are proved in float64, and float32 is compared with
the CPU's own error.

A check that could only begin after ``--seconds`` is reported as NOT RUN. Speeds are of the steps
that fit ``--seconds-each``, however fast they are: each line says how many steps that were. Speeds
at 32 px by ways other than the library's are there to be compared; an epoch of 50,000 images must
take at most 2 s at one of the batch sizes on an H100 or H200, and no step may wait.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from benchmark_options import above_zero, told
from gpu_common import (
    BATCH,
    NORMALIZATION,
    NUM_CLASSES,
    MemorySplit,
    NeedsCudaError,
    Result,
    cuda,
    exact,
    random_images,
    recipe,
    relative,
    sandwich,
    shipped_images,
    small_space,
    small_steps,
    training_images,
    unrecorded,
    waits,
)
from gpu_ranks import two_ranks
from gpu_speed import (
    WARM_UP,
    Way,
    convolved,
    depthwise_kernels,
    kernels_32px,
    speed_32px,
    speed_224px,
)
from supernet_epoch import epoch_32px
from torch import nn

from ofa_pipeline.data import Batch
from ofa_pipeline.evaluation import CalibratedTeacher, SubnetEvaluator
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import Supernet, build_supernet, compile_regions, extract_subnet
from ofa_pipeline.training import Checkpoints, Hooks, Schedule, deterministic, train_phase
from ofa_pipeline.training.step import TrainingStep

LOGITS_TOLERANCE = 1e-4
FLOAT64_TOLERANCE = 1e-9
INPUT_TOLERANCE = 1e-6
"""Between CPU and CUDA also in float64: images are augmented in float32 before."""
FLOAT32_FACTOR = 3.0
"""How much larger the error of a gradient in float32 may be than the CPU's."""
BF16_LOSS_TOLERANCE = 0.02
ACCURACY_TOLERANCE = 0.03
FLAT_MEMORY_BYTES = 1 << 20


class KilledError(Exception):
    """Training is stopped in the middle of an epoch."""


def here() -> torch.device:
    """Return the CUDA device, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
        with torch.no_grad(), exact():
            for is_training in (False, True):
                expected = [supernet.train(is_training)(images, arch) for arch in archs]
                supernet.to(device)
                found = [supernet(images.to(device), arch) for arch in archs]
                supernet.cpu()
                worst = max(worst, *map(relative, found, expected))
    return Result(worst <= LOGITS_TOLERANCE, {"relative_difference": worst})


def gradients(
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float32,
    dropout: float = 0.0,
    is_compiled: bool = False,
) -> tuple[float, torch.Tensor]:
    """Return the loss of a step of the shipped recipe, and the gradient summed over three."""
    space = small_space()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=dropout, seed=0)
    supernet.to(device, dtype)
    if is_compiled:
        compile_regions(supernet)
    images = random_images(BATCH, 32)
    batch = next(iter(images.split.batches(BATCH)))
    phase = sandwich(space, per_step=4)
    with TrainingStep(supernet, phase, images=images, recipe=recipe(), teacher=None) as step:
        losses = [step.accumulate_gradients(batch, number) for number in range(3)]
    found = [p.grad.flatten() for p in supernet.parameters() if p.grad is not None]
    return float(losses[-1]), torch.cat(found)


def float64_gradient() -> Result:
    """Compare gradients in float64: sliced on the CPU, sliced on CUDA, padded in graphs."""
    device = cuda()
    with exact():
        _, expected = gradients(torch.device("cpu"), dtype=torch.float64)
        _, graphs = gradients(device, dtype=torch.float64)
        with unrecorded():
            _, sliced = gradients(device, dtype=torch.float64)
    figures = {"sliced": relative(sliced, expected), "graphs_to_sliced": relative(graphs, sliced)}
    is_equal = figures["graphs_to_sliced"] <= FLOAT64_TOLERANCE
    return Result(is_equal and figures["sliced"] <= INPUT_TOLERANCE, figures)


def graph_replay() -> Result:
    """Compare steps in graphs with launched ones in float64, with the same draws of dropout."""
    device = cuda()
    with exact():
        _, found = gradients(device, dtype=torch.float64, dropout=0.3)
        with unrecorded():
            _, expected = gradients(device, dtype=torch.float64, dropout=0.3)
    figures = {"relative_difference": relative(found, expected)}
    return Result(figures["relative_difference"] <= FLOAT64_TOLERANCE, figures)


def float32_gradient() -> Result:
    """Compare the error of a gradient in float32 on CUDA with that on the CPU."""
    device, cpu = cuda(), torch.device("cpu")
    with exact():
        _, expected = gradients(cpu, dtype=torch.float64)
        errors = [relative(gradients(place)[1], expected) for place in (cpu, device)]
    figures = {"error_cpu": errors[0], "error_cuda": errors[1]}
    return Result(errors[1] <= FLOAT32_FACTOR * errors[0], figures)


def compiled_regions() -> Result:
    """Compare gradients in float64: batch norms compiled with their activations, and one by one."""
    device = cuda()
    with exact(), unrecorded():
        _, expected = gradients(device, dtype=torch.float64)
        _, found = gradients(device, dtype=torch.float64, is_compiled=True)
    figures = {"relative_difference": relative(found, expected)}
    return Result(figures["relative_difference"] <= FLOAT64_TOLERANCE, figures)


def bf16_loss() -> Result:
    """Compare the loss of a step in bfloat16 with that in float32."""
    device = cuda()
    with exact():
        expected, whole = gradients(device)
    found, rounded = gradients(device)
    error = abs(found - expected) / expected
    figures = {"loss": [expected, found], "gradient_difference": relative(rounded, whole)}
    return Result(error <= BF16_LOSS_TOLERANCE, figures | {"relative_difference": error})


def teacher_statistics() -> Result:
    """Check that a teacher calibrated inside a step has the statistics of float32."""
    device = here()
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
    with exact():
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
    device = here()
    whole = weights(trained(device))
    with tempfile.TemporaryDirectory() as folder:
        with suppress(KilledError):
            trained(device, folder=Path(folder), stop_after=14)
        resumed = weights(trained(device, folder=Path(folder)))
    return Result(torch.equal(whole, resumed), {"relative_difference": relative(resumed, whole)})


def no_synchronization(way: Way = nullcontext) -> Result:
    """Count what waits for the device in twenty steps."""
    with way(), small_steps(cuda(), batch=BATCH, per_step=4) as update:
        for _ in range(WARM_UP):  # records what there is to record
            update()
        found = waits(update, steps=20)
    return Result(not found["places"], found)


def flat_memory() -> Result:
    """Compare the memory in use after 50 and after 500 steps."""
    with small_steps(cuda(), batch=BATCH, per_step=3) as update:
        for _ in range(50):
            update()
        before = torch.cuda.memory_allocated()
        for _ in range(450):
            update()
        growth = torch.cuda.memory_allocated() - before
    figures = {"growth_bytes": growth, "peak_bytes": torch.cuda.max_memory_allocated()}
    return Result(growth <= FLAT_MEMORY_BYTES, figures)


def two_ranks_one_device() -> Result:
    """Train as two processes that share the device, by gloo, and as one."""
    return two_ranks(cuda(), steps=10)


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


def checks(seconds: float) -> dict[str, Callable[[], Result]]:
    """Return the checks by name, most valuable first; each speed has so many seconds."""
    speed = partial(speed_32px, seconds=seconds)
    epoch = partial(epoch_32px, seconds=seconds)
    return {
        "speed_32px_512": partial(speed, batch=512),
        "epoch_32px_512": partial(epoch, batch=512),
        "epoch_32px_64": partial(epoch, batch=BATCH),
        "epoch_32px_2048": partial(epoch, batch=2048),
        "no_synchronization": no_synchronization,
        "no_synchronization_launched": partial(no_synchronization, unrecorded),
        "depthwise_32px": partial(depthwise_kernels, of="32px"),
        "float64_gradient": float64_gradient,
        "graph_replay": graph_replay,
        "two_ranks": two_ranks_one_device,
        "kernels_32px": partial(kernels_32px, batch=512),
        "speed_32px_64": partial(speed, batch=BATCH),
        "speed_32px_512_convolved": partial(speed, batch=512, way=convolved),
        "epoch_32px_512_quick": partial(epoch, batch=512, is_deterministic=False),
        "speed_32px_512_launched": partial(speed, batch=512, way=unrecorded),
        "speed_224px": partial(speed_224px, batch=BATCH, seconds=seconds),
        "compiled_regions": compiled_regions,
        "speed_224px_compiled": partial(
            speed_224px, batch=BATCH, seconds=seconds, is_compiled=True
        ),
        "depthwise_224px": partial(depthwise_kernels, of="224px"),
        "bf16_loss": bf16_loss,
        "float32_gradient": float32_gradient,
        "kill_and_resume": kill_and_resume,
        "same_twice": same_twice,
        "flat_memory": flat_memory,
        "teacher_statistics": teacher_statistics,
        "float32_logits": float32_logits,
        "three_epochs": three_epochs,
    }


def run(name: str, check: Callable[[], Result]) -> dict[str, Any]:
    """Return the line of a check; one that breaks has failed."""
    start = time.perf_counter()
    try:
        result = check()
        verdict, figures = "PASS" if result.is_passed else "FAIL", result.figures
    except NeedsCudaError as error:
        verdict, figures = "NOT RUN", {"why": str(error)}
    except Exception as error:  # noqa: BLE001 - one check must not hide the others
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
        text = f"{type(error).__name__}: {error}"[:400]
        verdict, figures = "FAIL", {"error": text, "places": places}
    took = round(time.perf_counter() - start, 1)
    return {"check": name, "verdict": verdict, "check_seconds": took, **figures}


def main() -> int:
    """Print what it runs on, then one JSON object a check."""
    names = list(checks(seconds=0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="in this order")
    parser.add_argument("--seconds", type=above_zero, default=600.0)
    parser.add_argument("--seconds-each", type=above_zero, default=3.0, help="for each speed")
    options = parser.parse_args()
    start = time.perf_counter()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(json.dumps({"torch": torch.__version__, "cuda_device": device}), flush=True)
    verdicts = []
    runnable = checks(options.seconds_each)
    for name in options.only:
        line: dict[str, Any] = {"check": name, "verdict": "NOT RUN", "why": "out of time"}
        if time.perf_counter() - start < options.seconds:
            line = run(name, runnable[name])
        verdicts.append(line["verdict"])
        print(json.dumps(line), flush=True)
    return 1 if "FAIL" in verdicts else 0


if __name__ == "__main__":
    sys.exit(told(main))
