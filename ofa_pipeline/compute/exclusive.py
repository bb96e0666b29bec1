"""Work on the one node of a cluster that has something, and nobody else there meanwhile.

A node that is a device says so when it joins: ``ray start --address=HOST:PORT --resources
'{"cpu-onnxruntime": 1}'``. Whoever measures there takes all of that resource, so two measurements
never run on it at the same time, whichever run they belong to.
"""

from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from ofa_pipeline.compute.nodes import nodes_of
from ofa_pipeline.compute.torch_settings import TorchSettings
from ofa_pipeline.errors import ClusterError, suggest

ResultT = TypeVar("ResultT")

_BUILT_IN = ("CPU", "GPU", "memory", "object_store_memory", "node:", "accelerator_type:")


def run_on_node(ray: ModuleType, resource: str, work: Callable[[], ResultT]) -> ResultT:
    """Run a function on the node that has a resource, alone, and return what it returns.

    It waits while others hold the resource, and it is not tried again where the node dies: half of
    a measurement is none.

    Args:
        ray: Joined to the cluster, see `joined_cluster`.
        resource: Name of the resource; one node has exactly one of it.
        work: What pickle carries there. It computes with the torch settings of this process.

    Raises:
        ClusterError: If there is not one node with exactly one of the resource, or it dies
            meanwhile.
        Exception: What the work raised.
    """
    host = _require_one(ray, resource)
    task = ray.remote(num_cpus=0, resources={resource: 1}, max_retries=0)(_with_settings)
    reference = task.remote(work, TorchSettings.of_this_process())
    try:
        result: ResultT = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the node {host} with the resource {resource!r} died while it worked: "
            f"{str(error).splitlines()[0]} Look after the machine, and run the same command again."
        ) from error
    except BaseException:
        ray.cancel(reference, force=True)  # the device is free again
        raise
    return result


def _with_settings(work: Callable[[], ResultT], settings: TorchSettings) -> ResultT:
    settings.apply()
    return work()


def _require_one(ray: ModuleType, resource: str) -> str:
    """Return the host of the one node that has one of a resource.

    Raises:
        ClusterError: If there is none such, or more than one.
    """
    nodes = nodes_of(ray)
    having = [(node.host, node.resources.get(resource, 0.0)) for node in nodes]
    having = [(host, count) for host, count in having if count]
    if [count for _, count in having] == [1.0]:
        return having[0][0]
    start = f"ray start --address=HOST:PORT --resources='{{\"{resource}\": 1}}'"
    if not having:
        known = {
            name for node in nodes for name in node.resources if not name.startswith(_BUILT_IN)
        }
        raise ClusterError(
            f"one node of the Ray cluster must have the resource {resource!r}, none has."
            f"{suggest(resource, known)} Start Ray on that device with it: {start}"
        )
    found = ", ".join(f"{count:g} of it on {host}" for host, count in sorted(having))
    raise ClusterError(
        f"one node must have exactly one of the resource {resource!r}, so that nobody measures "
        f"there at the same time; found {found}. Start Ray there with: {start}"
    )
