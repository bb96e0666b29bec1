"""Where work runs: executors that work on many items, and the device that tensors live on."""

from ofa_pipeline.compute.cluster import joined_cluster
from ofa_pipeline.compute.device import compute_device, copied_to
from ofa_pipeline.compute.exclusive import run_on_node
from ofa_pipeline.compute.executor import Executor, Item
from ofa_pipeline.compute.local import SERIAL, LocalExecutor, free_workers
from ofa_pipeline.compute.ranks import ALONE, BatchPart, Ranks
from ofa_pipeline.compute.ray_executor import RayExecutor, check_cluster, ray_executor

__all__ = [
    "ALONE",
    "SERIAL",
    "BatchPart",
    "Executor",
    "Item",
    "LocalExecutor",
    "Ranks",
    "RayExecutor",
    "check_cluster",
    "compute_device",
    "copied_to",
    "free_workers",
    "joined_cluster",
    "ray_executor",
    "run_on_node",
]
