"""Settings of torch under which equal inputs give equal bits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def deterministic(*, threads: int) -> Iterator[None]:
    """Use deterministic kernels and a fixed number of CPU threads while the body runs.

    The number of threads decides how sums are split, so it is part of the result's bits. On CUDA
    some kernels have no deterministic form; there, torch warns and results agree only closely.

    Args:
        threads: CPU threads within one operation.
    """
    previous_threads = torch.get_num_threads()
    previous_mode = torch.are_deterministic_algorithms_enabled()
    previous_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic
    previous_fill = fill.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling every result before it is computed only helps to find faults in operators, and
    # costs a sixth of a training step on the CPU.
    fill.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(previous_threads)
        torch.use_deterministic_algorithms(previous_mode, warn_only=previous_warn)
        fill.fill_uninitialized_memory = previous_fill  # type: ignore[attr-defined]
