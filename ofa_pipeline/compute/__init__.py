"""Where work runs: executors that work on many items, and the device that tensors live on."""

from ofa_pipeline.compute.cluster import joined_cluster
from ofa_pipeline.compute.device import compute_device, copied_to
from ofa_pipeline.compute.exclusive import find_device_node, follow_on_node, run_on_node
from ofa_pipeline.compute.executor import Executor, Item
from ofa_pipeline.compute.local import SERIAL, LocalExecutor, free_workers, torch_threads
from ofa_pipeline.compute.nodes import Node, ask_nodes, require_same_python
from ofa_pipeline.compute.ranks import ALONE, BatchPart, Ranks
from ofa_pipeline.compute.ray_executor import RayExecutor, check_cluster, ray_executor

__all__ = [
    "ALONE",
    "SERIAL",
    "BatchPart",
    "Executor",
    "Item",
    "LocalExecutor",
    "Node",
    "Ranks",
    "RayExecutor",
    "ask_nodes",
    "check_cluster",
    "compute_device",
    "copied_to",
    "find_device_node",
    "follow_on_node",
    "free_workers",
    "joined_cluster",
    "ray_executor",
    "require_same_python",
    "run_on_node",
    "torch_threads",
]
