"""Where work runs: executors that work on many items, and the device that tensors live on."""

from ofa_pipeline.compute.device import compute_device, copied_to
from ofa_pipeline.compute.executor import Executor, Item
from ofa_pipeline.compute.local import SERIAL, LocalExecutor, free_workers
from ofa_pipeline.compute.ranks import ALONE, BatchPart, Ranks

__all__ = [
    "ALONE",
    "SERIAL",
    "BatchPart",
    "Executor",
    "Item",
    "LocalExecutor",
    "Ranks",
    "compute_device",
    "copied_to",
    "free_workers",
]
