"""Work on the one node of a cluster that has something, and nobody else there meanwhile.

A node that is a device says so when it joins: ``ray start --address=HOST:PORT --num-cpus=0
--resources='{"phone": 1}'``; without CPUs for others, no worker ever computes there. Whoever
measures there takes all of that resource, so two measurements never run on it at the same time,
whichever run they belong to.
"""

from collections.abc import Callable, Generator, Iterator
from types import ModuleType
from typing import TypeVar

from ofa_pipeline.compute.nodes import Node, carried, nodes_of
from ofa_pipeline.compute.torch_settings import TorchSettings
from ofa_pipeline.errors import ClusterError, NodeLostError, suggest

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
        ClusterError: If there is not one node with exactly one of the resource.
        NodeLostError: If it dies meanwhile.
        Exception: What the work raised.
    """
    result: ResultT
    [result] = follow_on_node(ray, resource, _once, work, TorchSettings.of_this_process())
    return result


def follow_on_node(
    ray: ModuleType, resource: str, work: Callable[..., Iterator[ResultT]], *arguments: object
) -> Generator[ResultT]:
    """Yield what a function yields on the node that has a resource, alone there, as it comes.

    Whoever stops early ends the work. The rest is as in `run_on_node`.

    Args:
        ray: Joined to the cluster, see `joined_cluster`.
        resource: Name of the resource; one node has exactly one of it.
        work: A generator function. Its module is carried there as a value: it may import what the
            node has, which need not be this package.
        arguments: What pickle carries there.

    Raises:
        ClusterError: If there is not one node with exactly one of the resource.
        NodeLostError: If it dies meanwhile.
        Exception: What the work raised.
    """
    host = find_device_node(ray, resource).host
    options = {"num_cpus": 0, "resources": {resource: 1}, "max_retries": 0}
    with carried(ray, work):
        references = ray.remote(num_returns="streaming", **options)(work).remote(*arguments)
    try:
        for reference in references:
            yield ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise NodeLostError(
            f"the node {host} with the resource {resource!r} died while it worked: "
            f"{str(error).splitlines()[0]} Look after the machine, and run the same command again."
        ) from error
    except BaseException:
        ray.cancel(references, force=True)  # the device is free again
        raise


def _once(work: Callable[[], ResultT], settings: TorchSettings) -> Iterator[ResultT]:
    settings.apply()
    yield work()


def find_device_node(ray: ModuleType, resource: str) -> Node:
    """Return the one node that has one of a resource.

    Raises:
        ClusterError: If there is none such, or more than one.
    """
    nodes = nodes_of(ray)
    having = [(node, node.resources.get(resource, 0.0)) for node in nodes]
    having = [(node, count) for node, count in having if count]
    if [count for _, count in having] == [1.0]:
        return having[0][0]
    start = f"ray start --address=HOST:PORT --num-cpus=0 --resources='{{\"{resource}\": 1}}'"
    if not having:
        known = {
            name for node in nodes for name in node.resources if not name.startswith(_BUILT_IN)
        }
        raise ClusterError(
            f"one node of the Ray cluster must have the resource {resource!r}, none has."
            f"{suggest(resource, known)} Start Ray on that device with it: {start}"
        )
    found = ", ".join(sorted(f"{count:g} of it on {node.host}" for node, count in having))
    raise ClusterError(
        f"one node must have exactly one of the resource {resource!r}, so that nobody measures "
        f"there at the same time; found {found}. Start Ray there with: {start}"
    )
