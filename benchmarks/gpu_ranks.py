"""Two processes that share one device and train together by gloo, against one alone.

Needs torch, numpy, pyarrow, pillow and safetensors alone.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from gpu_common import (
    BATCH,
    NUM_CLASSES,
    Result,
    exact,
    random_images,
    recipe,
    relative,
    sandwich,
    small_space,
)
from safetensors.torch import load_file, save_file

from ofa_pipeline.compute import Ranks
from ofa_pipeline.progress import ProgressEvent, Reporter
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import Hooks, deterministic, train_phase

WEIGHTS = "weights"
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-6}
"""Relative difference of the weights after one step."""


def two_ranks(device: torch.device, *, steps: int) -> Result:
    """Train as one process and as two on the same device; compare the weights."""
    figures: dict[str, Any] = {"device": device.type, "steps": steps}
    is_equal = True
    with tempfile.TemporaryDirectory() as folder:
        for size in (1, 2):
            arguments = (size, str(device), steps, folder)
            mp.spawn(train_rank, args=arguments, nprocs=size)
        for dtype, tolerance in TOLERANCES.items():
            one, two = (load_file(_path(folder, size, dtype))[WEIGHTS] for size in (1, 2))
            first, *_, last = [relative(b, a) for a, b in zip(one, two, strict=True)]
            figures[str(dtype).removeprefix("torch.")] = {"first_step": first, "last_step": last}
            is_equal = is_equal and first <= tolerance
    return Result(is_equal, figures)


def train_rank(rank: int, size: int, device: str, steps: int, folder: str) -> None:
    """Train as one of some processes; the first keeps the weights after each step."""
    meeting = f"file://{folder}/meeting_{size}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
    for dtype in TOLERANCES:
        found = train(Ranks(rank, size), torch.device(device), dtype=dtype, steps=steps)
        if rank == 0:
            save_file({WEIGHTS: torch.stack(found)}, _path(folder, size, dtype))
    dist.destroy_process_group()


def train(
    ranks: Ranks, device: torch.device, *, dtype: torch.dtype, steps: int
) -> list[torch.Tensor]:
    """Return all weights in a row after each step."""
    space = small_space()
    supernet = build_supernet(space, num_classes=NUM_CLASSES, dropout=0.1, seed=0)
    supernet.to(device, dtype)
    found: list[torch.Tensor] = []

    def note(event: ProgressEvent) -> None:
        if event.total:
            parts = [p.detach().flatten() for p in supernet.parameters()]
            found.append(torch.cat(parts).cpu())

    with exact(), deterministic(threads=1):
        train_phase(
            supernet,
            sandwich(space),
            images=random_images(steps * BATCH, 32),
            recipe=recipe(),
            hooks=Hooks(ranks=ranks, reporter=Reporter(note, interval_s=0)),
        )
    return found


def _path(folder: str, size: int, dtype: torch.dtype) -> Path:
    return Path(folder) / f"{size}_{str(dtype).removeprefix('torch.')}.safetensors"
