"""How fast training steps are on a device, within a number of seconds whatever the speed.

A figure is of the steps that fit: each says how many there were, and in how many seconds. What an
epoch takes follows from them. Needs torch, numpy, pyarrow, pillow and safetensors alone.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from gpu_common import (
    NUM_CLASSES,
    Result,
    cuda,
    sandwich,
    small_steps,
    stepping,
    waits,
)
from torch import Tensor

from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_supernet, compile_regions
from ofa_pipeline.training import deterministic

WARM_UP = 12
"""Steps in which all image sizes are met, and recorded."""
WARM_UP_S = 40.0
"""A warm-up that takes longer ends, and says after how many steps."""
CHUNK = 4
"""Steps that are launched before the device is waited for."""
EPOCH_IMAGES = 50_000
SUBNETS = 4
Update = Callable[[], object]
Conv = Callable[..., Tensor]
Way = Callable[[], AbstractContextManager[None]]


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def pace(
    update: Update, *, device: torch.device, seconds: float, warm_up: int = WARM_UP
) -> dict[str, Any]:
    """Return how long a step takes: the median over chunks of steps, as many as fit the seconds.

    ``launch_ms`` is what the host takes to ask for a step. Where it is as long as the step, the
    device waits for the host.
    """
    begin, warm = time.perf_counter(), 0
    while warm < warm_up and time.perf_counter() - begin < WARM_UP_S:
        update()
        warm += 1
    wait_for(device)
    start = time.perf_counter()
    chunks: list[float] = []
    launches: list[float] = []
    while not chunks or time.perf_counter() - start < seconds:
        first = time.perf_counter()
        for _ in range(CHUNK):
            update()
        launches.append((time.perf_counter() - first) / CHUNK)
        wait_for(device)
        chunks.append((time.perf_counter() - first) / CHUNK)
    return {
        "warm_up_steps": warm,
        "warm_up_s": round(start - begin, 2),
        "steps": CHUNK * len(chunks),
        "seconds": round(time.perf_counter() - start, 2),
        "step_ms": round(1000 * statistics.median(chunks), 3),
        "launch_ms": round(1000 * statistics.median(launches), 3),
    }


def with_rates(figures: Mapping[str, Any], *, batch: int) -> dict[str, Any]:
    """Return figures of steps with those that follow: images a second, seconds an epoch."""
    rate = 1000 * batch / figures["step_ms"]
    return {
        "batch": batch,
        **figures,
        "images_per_s": round(rate),
        "seconds_for_50000_images": round(EPOCH_IMAGES / rate, 2),
    }


def speed_32px(
    *,
    batch: int,
    seconds: float,
    way: Way = nullcontext,
    device: torch.device | None = None,
) -> Result:
    """Time steps of four subnets at 32 px, and count what waits in some of them."""
    device = device or cuda()
    with way(), small_steps(device, batch=batch, per_step=SUBNETS) as update:
        figures = with_rates(pace(update, device=device, seconds=seconds), batch=batch)
        if device.type == "cuda":
            figures["synchronizations"] = waits(update, steps=3)["a_step"]
            figures["peak_bytes"] = torch.cuda.max_memory_allocated()
    return Result(not figures.get("synchronizations"), figures)


def speed_224px(*, batch: int, seconds: float, is_compiled: bool = False) -> Result:
    """Time steps of the reference's MobileNetV3 at 224 px, also with compiled batch norms."""
    space, device = reference_space("ofa_mbv3_d234_e346_k357_w1.0"), cuda()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0)
    if is_compiled:
        compile_regions(supernet)
    phase = sandwich(space, per_step=SUBNETS)
    with stepping(supernet, phase, side_px=224, batch=batch, device=device) as update:
        figures = with_rates(pace(update, device=device, seconds=seconds, warm_up=6), batch=batch)
        figures["synchronizations"] = waits(update, steps=2)["a_step"]
    return Result(not figures["synchronizations"], figures)


def kernels_32px(*, batch: int) -> Result:
    """Name the kernels of one step at 32 px that take longest."""
    device = cuda()
    with small_steps(device, batch=batch, per_step=SUBNETS) as update:
        for _ in range(WARM_UP):
            update()
        wait_for(device)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            update()
            wait_for(device)
    spent: dict[str, list[float]] = {}
    for event in profile.events():
        if event.device_type.name == "CUDA":
            spent.setdefault(event.name[:90], []).append(event.device_time_total / 1000)
    longest = sorted(spent.items(), key=lambda item: -sum(item[1]))[:25]
    figures = {
        "batch": batch,
        "kernels": sum(map(len, spent.values())),
        "busy_ms": round(sum(map(sum, spent.values())), 2),
        "longest_ms": {name: [len(times), round(sum(times), 3)] for name, times in longest},
    }
    return Result(True, figures)


def repeatable() -> AbstractContextManager[None]:
    """Compute with deterministic kernels, as the training stage does."""
    return deterministic(threads=1)


@contextmanager
def convolved() -> Iterator[None]:
    """Leave convolutions of one pixel to cuDNN, instead of taking matrix products."""
    with patch("ofa_pipeline.supernet.elastic_ops.pointwise_product", F.conv2d):
        yield


def _native_depthwise(x: Tensor, weight: Tensor, *, stride: int) -> Tensor:
    result: Tensor = _NativeDepthwise.apply(x, weight.to(x.dtype), stride)
    return result.contiguous(memory_format=torch.channels_last)


class _NativeDepthwise(torch.autograd.Function):
    """A depthwise convolution of torch's own kernels, which take channels first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:  # noqa: ANN401
        x, weight = x.contiguous(), weight.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        size = weight.shape[-1]
        return torch.ops.aten._conv_depthwise2d(
            x, weight, (size, size), None, (stride, stride), (size // 2, size // 2), (1, 1)
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        margin, stride = weight.shape[-1] // 2, ctx.stride
        with torch.backends.cudnn.flags(enabled=False):
            of_x, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient.contiguous(), x, weight, None, (stride, stride), (margin, margin), (1, 1),
                False, (0, 0), len(weight), (True, True, False),
            )  # fmt: skip
        return of_x, of_weight, None


DEPTHWISE = {
    "32px": ((512, 64, 32, 7, 2), (512, 64, 16, 7, 1), (512, 160, 4, 7, 1)),
    "224px": ((64, 96, 112, 3, 2), (64, 240, 28, 7, 1), (64, 672, 14, 7, 1)),
}
"""Shapes: images, channels, side in pixels, kernel size, stride."""


def depthwise_kernels(*, of: str, seconds: float = 0.05) -> Result:
    """Time a depthwise convolution with its gradients by ways, in bfloat16; first calls apart."""
    ways: dict[str, tuple[Conv, Way]] = {
        "cudnn": (_cudnn_depthwise, nullcontext),
        "native": (_native_depthwise, nullcontext),
        "cudnn_deterministic": (_cudnn_depthwise, repeatable),
    }
    found = [
        {
            "shape": shape,
            **{
                name: _time_depthwise(shape, convolve, way, device=cuda(), seconds=seconds)
                for name, (convolve, way) in ways.items()
            },
        }
        for shape in DEPTHWISE[of]
    ]
    return Result(True, {"shapes": found})


def _time_depthwise(
    shape: tuple[int, ...], convolve: Conv, way: Way, *, device: torch.device, seconds: float
) -> dict[str, float]:
    """Return the seconds of the first call, and the milliseconds of those after it."""
    images, channels, side, size, stride = shape
    x = torch.randn(images, channels, side, side, device=device, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, 1, size, size, device=device, dtype=torch.bfloat16)
    weight.requires_grad_()

    def update() -> None:
        y = convolve(x, weight, stride=stride)
        torch.autograd.grad(y, (x, weight), y.detach())

    with way():
        timed = pace(update, device=device, seconds=seconds, warm_up=1)
    return {"first_s": timed["warm_up_s"], "ms": timed["step_ms"]}


def _cudnn_depthwise(x: Tensor, weight: Tensor, *, stride: int) -> Tensor:
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=len(weight))
