"""Settings of torch under which equal inputs give equal bits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

CUBLAS_WORKSPACE = ":4096:8"
"""Eight buffers of 4 MiB: one of the two values with which cuBLAS is deterministic."""


@contextmanager
def deterministic(*, threads: int) -> Iterator[None]:
    """Use deterministic kernels and a fixed number of CPU threads while the body runs.

    The number of threads decides how sums are split, so it is part of the result's bits. On CUDA
    float32 is float32: without TF32, which keeps 10 of 23 bits. cuBLAS is deterministic only with a
    workspace of a fixed size, which its variable has to ask for before the first product; a value
    of the user's stays. Kernels without a deterministic form let torch warn, and results agree only
    closely.

    Args:
        threads: CPU threads within one operation.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    previous_threads = torch.get_num_threads()
    previous_mode = torch.are_deterministic_algorithms_enabled()
    previous_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic
    previous_fill = fill.fill_uninitialized_memory  # type: ignore[attr-defined]
    previous_tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
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
