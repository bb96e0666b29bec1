"""Work on the one node of a cluster that has something, and nobody else there meanwhile.

A node that is a device says so when it joins: ``ray start --address=HOST:PORT --num-cpus=0
--resources='{"phone": 1}'``; without CPUs for others, no worker ever computes there. Whoever
measures there takes all of that resource, so two measurements never run on it at the same time,
whichever run they belong to.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any, TypeVar

from ofa_pipeline.compute.nodes import Node, carried, nodes_of
from ofa_pipeline.compute.torch_settings import TorchSettings
from ofa_pipeline.errors import ClusterError, NodeLostError, suggest

ResultT = TypeVar("ResultT")

_POLL_S = 2.0

_BUILT_IN = ("CPU", "GPU", "memory", "object_store_memory", "node:", "accelerator_type:")


class _GoneError(Exception):
    """The node is no longer in the cluster."""


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
    node = find_device_node(ray, resource)
    options = {"num_cpus": 0, "resources": {resource: 1}, "max_retries": 0}
    with carried(ray, work):
        references = ray.remote(num_returns="streaming", **options)(work).remote(*arguments)
    try:
        for reference in _as_it_comes(ray, references, node):
            yield ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise _lost(node, resource, str(error).splitlines()[0]) from error
    except _GoneError as error:
        with suppress(ray.exceptions.RayError):
            ray.cancel(references, force=True)
        raise _lost(node, resource, "it is no longer in the cluster.") from error
    except BaseException:
        ray.cancel(references, force=True)  # the device is free again
        raise


def _as_it_comes(ray: ModuleType, references: Any, node: Node) -> Iterator[Any]:  # noqa: ANN401
    """Yield references as they come; look after the node while there is none.

    Where a machine goes down with all that runs on it, Ray marks it as dead, and whoever waits for
    a generator there waits forever.

    Raises:
        _GoneError: If the node is dead.
    """
    while True:
        while not ray.wait([references], timeout=_POLL_S)[0]:
            if node.node_id not in {alive.node_id for alive in nodes_of(ray)}:
                raise _GoneError
        try:
            reference = next(references)
        except StopIteration:
            return
        yield reference


def _lost(node: Node, resource: str, reason: str) -> NodeLostError:
    return NodeLostError(
        f"the node {node.host} with the resource {resource!r} died while it worked: {reason} Look "
        "after the machine, and run the same command again."
    )


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
