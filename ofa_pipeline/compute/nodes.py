"""The nodes of a Ray cluster: whether they have what this machine has, and room for workers."""

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from ofa_pipeline.compute import software
from ofa_pipeline.errors import ClusterError, shorten

CHECK_S = 120.0
"""How long the nodes may take to say what is installed on them."""

_MAX_NAMED = 3
_OF_EVERY_NODE = ("ray",)
"""Packages that all nodes have in the same version."""

_CARRYING = threading.Lock()

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine of a cluster."""

    node_id: str
    host: str
    resources: Mapping[str, float]
    """How many of each it has, such as ``CPU`` and ``GPU``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one worker takes of a node."""

    cpus: int
    gpus: float

    def workers_on(self, node: Node) -> int:
        """Return how many workers a node has room for."""
        room = int(node.resources.get("CPU", 0.0) // self.cpus)
        if self.gpus:
            room = min(room, int(node.resources.get("GPU", 0.0) / self.gpus + 1e-9))
        return room


def nodes_of(ray: ModuleType) -> list[Node]:
    """Return the nodes of the joined cluster that live."""
    return [
        Node(
            node_id=node["NodeID"],
            host=node["NodeManagerHostname"],
            resources=dict(node["Resources"]),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def demand_of(nodes: Sequence[Node], *, threads: int, gpus_per_worker: float | None) -> Demand:
    """Return what a worker takes.

    Args:
        nodes: All nodes.
        threads: CPU threads of a worker.
        gpus_per_worker: As params.yaml says; None: one where there are GPUs, otherwise none.

    Raises:
        ClusterError: If no node has room for a worker.
    """
    has_gpus = any(node.resources.get("GPU", 0.0) > 0 for node in nodes)
    gpus = float(has_gpus) if gpus_per_worker is None else gpus_per_worker
    names = _names([node.host for node in nodes])
    if gpus and not has_gpus:
        raise ClusterError(
            f"compute.fan_out.gpus_per_worker: {gpus:g} needs a cluster with GPUs, but Ray knows "
            f"of none on {names}. Set gpus_per_worker: 0, or leave it out, to work on CPUs; where "
            "there are GPUs, start Ray with --num-gpus."
        )
    demand = Demand(cpus=1 if gpus else threads, gpus=gpus)
    if not any(demand.workers_on(node) for node in nodes):
        wanted = f"{demand.cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        most = max((node.resources.get("CPU", 0.0) for node in nodes), default=0.0)
        raise ClusterError(
            f"a worker needs a node with {wanted} (evaluation.threads, training.threads), the "
            f"largest of {names} has {most:g} CPUs. Lower the threads, or add a node."
        )
    return demand


def require_same_software(ray: ModuleType, nodes: Sequence[Node], *, folder: Path) -> None:
    """Require that all nodes have our packages and our code, and see our files.

    Args:
        ray: Joined to the cluster.
        nodes: Those that workers may run on.
        folder: The workspace.

    Raises:
        ClusterError: If a node does not; it names both versions, or the folder.
    """
    here = software.find_software(software.PACKAGES, software.PACKAGE)
    asked = (software.PACKAGES, software.PACKAGE)
    with _seen_file(folder) as path:
        answers = ask_nodes(ray, nodes, software.look_around, *asked, str(path))
        for node, (there, sees) in zip(nodes, answers, strict=True):
            _require_same(node, here, there)
            if not sees:
                raise ClusterError(
                    f"the workspace must lie on a file system that all nodes share, but "
                    f"{node.host} does not see {folder}. Move the workspace, or mount its file "
                    "system there under the same path."
                )


def require_same_python(ray: ModuleType, node: Node, *, packages: Sequence[str]) -> list[str]:
    """Require that a node has our Python and our Ray; return which packages it lacks.

    It need have nothing else of ours, and see none of our files.

    Args:
        ray: Joined to the cluster.
        node: The node.
        packages: Names of distributions, in whatever version.

    Raises:
        ClusterError: If it has another Python or Ray; it names both versions.
    """
    here = software.find_software(_OF_EVERY_NODE)
    [there] = ask_nodes(ray, [node], software.find_software, (*_OF_EVERY_NODE, *packages))
    _require_same(node, here, there)
    return [name for name in packages if there[name] == software.NOT_INSTALLED]


def _require_same(node: Node, here: Mapping[str, str], there: Mapping[str, str]) -> None:
    if found := software.differences(here, there):
        raise ClusterError(
            f"the node {node.host} of the Ray cluster must have what this machine has: "
            f"{'; '.join(found)}. Install the same there, for example requirements.lock "
            "and this version of ofa_pipeline, and start Ray again."
        )


def ask_nodes(
    ray: ModuleType, nodes: Sequence[Node], function: Callable[..., ResultT], *arguments: object
) -> list[ResultT]:
    """Return what a function returns on each node; it takes moments, and nothing of the node.

    Args:
        ray: Joined to the cluster.
        nodes: Where it runs.
        function: Of a module that is carried there as a value: a node may lack our package.
        arguments: What pickle carries there.

    Raises:
        ClusterError: If they do not answer in time.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        with carried(ray, function):
            ask = ray.remote(num_cpus=0, max_retries=0)(function)
            asked = [
                ask.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)
                ).remote(*arguments)
                for node in nodes
            ]
        answers: list[ResultT] = ray.get(asked, timeout=CHECK_S)
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the nodes of the Ray cluster ({_names([node.host for node in nodes])}) must answer "
            f"within {CHECK_S:g} seconds, but: {shorten(str(error), 300)}. "
            "Look at `ray status`, and start Ray again."
        ) from error
    return answers


@contextmanager
def carried(ray: ModuleType, function: Callable[..., object]) -> Iterator[None]:
    """Have pickle carry a function's module to nodes as a value while the body runs, for moments.

    What is carried so is of the whole process: threads take turns.
    """
    module = sys.modules[function.__module__]
    with _CARRYING:
        ray.cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            ray.cloudpickle.unregister_pickle_by_value(module)


@contextmanager
def _seen_file(folder: Path) -> Iterator[Path]:
    """Make a file in a folder while the body runs."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-by-all-nodes-") as file:
        yield Path(file.name)


def _names(hosts: Sequence[str]) -> str:
    names = sorted(set(hosts))
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
