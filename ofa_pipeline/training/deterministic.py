"""Settings of torch under which equal inputs give equal bits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ofa_pipeline.errors import DeviceError

WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_WORKSPACES = (":4096:8", ":16:8")
"""With either cuBLAS is deterministic; the first is eight buffers of 4 MiB, and as fast as any."""


@contextmanager
def deterministic(*, threads: int, is_wanted: bool = True) -> Iterator[None]:
    """Use deterministic kernels and a fixed number of CPU threads while the body runs.

    The number of threads decides how sums are split, so it is part of the result's bits. On CUDA
    float32 is float32: without TF32, which keeps 10 of 23 bits. cuBLAS is deterministic only with a
    workspace of a fixed size, which its variable has to ask for before the first product. On CUDA
    an operation without a deterministic form raises torch's own error, which names it; on the CPU
    it lets torch warn.

    Args:
        threads: CPU threads within one operation.
        is_wanted: False leaves the choice of kernels to the libraries: on CUDA results of equal
            inputs then agree only closely. Threads and float32 are as otherwise.

    Raises:
        DeviceError: If there is a CUDA device, and the user's value of the variable would not let
            cuBLAS be deterministic.
    """
    if is_wanted:
        _ask_for_workspace()
    previous_threads = torch.get_num_threads()
    previous_mode = torch.are_deterministic_algorithms_enabled()
    previous_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic
    previous_fill = fill.fill_uninitialized_memory  # type: ignore[attr-defined]
    previous_tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(is_wanted, warn_only=not torch.cuda.is_available())
    # Filling every result before it is computed only helps to find faults in operators, and
    # costs a sixth of a training step on the CPU.
    fill.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = previous_tf32
        torch.set_num_threads(previous_threads)
        torch.use_deterministic_algorithms(previous_mode, warn_only=previous_warn)
        fill.fill_uninitialized_memory = previous_fill  # type: ignore[attr-defined]


def _ask_for_workspace() -> None:
    """Ask cuBLAS for a workspace of a fixed size; a value of the user's stays.

    Raises:
        DeviceError: If that value would not do, and matters.
    """
    value = os.environ.setdefault(WORKSPACE_VARIABLE, CUBLAS_WORKSPACES[0])
    if value not in CUBLAS_WORKSPACES and torch.cuda.is_available():
        raise DeviceError(
            f"{WORKSPACE_VARIABLE} must be {' or '.join(CUBLAS_WORKSPACES)} for deterministic "
            f"results on CUDA, found {value!r} in the environment. Unset it: what evaluates needs "
            "it so in any case, and training unless training.deterministic is false."
        )
