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
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(previous_threads)
        torch.use_deterministic_algorithms(previous_mode, warn_only=previous_warn)
