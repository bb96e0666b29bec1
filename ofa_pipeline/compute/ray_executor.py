"""Work on a Ray cluster: workers that are processes of their own, replaced when they die."""

import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ofa_pipeline.compute.cluster import joined_cluster
from ofa_pipeline.compute.executor import Item, ItemT, ResultT
from ofa_pipeline.compute.nodes import Demand, demand_of, nodes_of, require_same_software
from ofa_pipeline.compute.torch_settings import TorchSettings
from ofa_pipeline.compute.worker import Done, Worker
from ofa_pipeline.errors import ClusterError, shorten
from ofa_pipeline.progress import SILENT, Reporter

MAX_RETRIES = 2
"""How often an item is tried again whose worker died."""

PATIENCE_S = 60.0
"""How long no worker may work or begin before whoever waits is told why."""

_POLL_S = 1.0
_MAX_REASON = 300
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_DETAIL = re.compile(r"exit detail: (.+)")

Build = Callable[[], Callable[[Any], Any]]
Spend = Callable[[float, bool], None]
"""Told of the CPU seconds of each item, and whether a CUDA device worked as well."""


@contextmanager
def ray_executor(
    *,
    address: str,
    gpus_per_worker: float | None,
    threads: int,
    folder: Path,
    reporter: Reporter = SILENT,
    spend: Spend = lambda *_: None,
) -> Iterator["RayExecutor"]:
    """Give what works on a Ray cluster, after a look at all nodes.

    Args:
        address: See `joined_cluster`.
        gpus_per_worker: At most one; None: one where the cluster has GPUs, otherwise none.
        threads: CPU threads that a worker will compute with.
        folder: The workspace, which all nodes must see.
        reporter: Told of workers that died.
        spend: Told what the workers spend.

    Raises:
        ClusterError: If the cluster cannot be joined, differs from this machine, or has no GPU
            where one is asked for.
    """
    with joined_cluster(address) as ray:
        _room(ray, gpus_per_worker, threads=threads, folder=folder)
        executor = RayExecutor(ray, gpus_per_worker, reporter=reporter, spend=spend)
        try:
            yield executor
        finally:
            executor.close()


def check_cluster(
    *, address: str, gpus_per_worker: float | None, threads: int, folder: Path
) -> int:
    """Look at a cluster as `ray_executor` does, leave it, and return the workers it has room for.

    Raises:
        ClusterError: If it cannot be worked on.
    """
    with joined_cluster(address) as ray:
        return _room(ray, gpus_per_worker, threads=threads, folder=folder)


def _room(ray: ModuleType, gpus_per_worker: float | None, *, threads: int, folder: Path) -> int:
    nodes = nodes_of(ray)
    demand = demand_of(nodes, threads=threads, gpus_per_worker=gpus_per_worker)
    require_same_software(ray, [n for n in nodes if demand.workers_on(n)], folder=folder)
    return sum(demand.workers_on(node) for node in nodes)


class RayExecutor:
    """Works on the nodes of a joined cluster, an item a worker at a time.

    The workers compute with the torch settings of this process. They stay as long as the work is
    of one kind: `run` with the same `build` finds them with all that they have loaded.
    """

    has_processes = True

    def __init__(
        self,
        ray: ModuleType,
        gpus_per_worker: float | None,
        *,
        reporter: Reporter,
        spend: Spend,
    ) -> None:
        """Start nothing yet."""
        self._ray = ray
        self._gpus_per_worker = gpus_per_worker
        self._reporter = reporter
        self._spend = spend
        self._pool: _Pool | None = None

    def run(
        self, build: Callable[[], Callable[[ItemT], ResultT]], items: Sequence[ItemT]
    ) -> Iterator[tuple[ItemT, ResultT]]:
        """Yield each item with its result, see `Executor.run`.

        Raises:
            ClusterError: If an item's workers died at each try, or none can begin.
        """
        if not items:
            return
        settings, (demand, room) = TorchSettings.of_this_process(), self._demand_and_room()
        if self._pool is None or not self._pool.fits(build, settings):
            self.close()
            self._pool = _Pool(self._ray, build, settings, demand)
        work = _Work(self._pool, items, self._reporter)
        for item, done in work.results(room):
            self._spend(done.cpu_s, done.on_cuda)
            yield item, done.result

    @property
    def num_workers(self) -> int:
        """How many workers the cluster has room for, with as many threads as this process has."""
        return self._demand_and_room()[1]

    def _demand_and_room(self) -> tuple[Demand, int]:
        nodes, threads = nodes_of(self._ray), TorchSettings.of_this_process().threads
        demand = demand_of(nodes, threads=threads, gpus_per_worker=self._gpus_per_worker)
        return demand, sum(demand.workers_on(node) for node in nodes)

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.end()
            self._pool = None


class _Pool:
    """The workers of one kind of work: those that wait for an item, and those that start."""

    def __init__(
        self, ray: ModuleType, build: Build, settings: TorchSettings, demand: Demand
    ) -> None:
        self.ray = ray
        self._build = build
        self._settings = settings
        self._arguments = ray.put(build), settings, Path.cwd()
        self._actor = ray.remote(
            num_cpus=demand.cpus, num_gpus=demand.gpus, max_restarts=0, max_task_retries=0
        )(Worker)
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}
        """Workers by the reference to their first answer."""
        self.busy: dict[Any, tuple[Any, Item]] = {}
        """Workers and their items by the reference to the result."""

    def fits(self, build: Build, settings: TorchSettings) -> bool:
        """Return whether the workers do this kind of work."""
        return self._build is build and self._settings == settings

    def fill(self, count: int) -> None:
        """Start workers until there are `count`."""
        for _ in range(count - len(self.idle) - len(self.starting) - len(self.busy)):
            worker = self._actor.remote(*self._arguments)
            self.starting[worker.greet.remote()] = worker

    def give(self, item: Item) -> None:
        """Give an item to a worker that waits for one."""
        worker = self.idle.pop()
        self.busy[worker.compute.remote(item)] = worker, item

    def arrived(self) -> list[Any]:
        """Wait for a moment; return references to first answers and to results that are there."""
        refs = [*self.busy, *self.starting]
        ready, _ = self.ray.wait(refs, num_returns=1, timeout=_POLL_S)
        return list(ready)

    def end(self) -> None:
        """End all workers at once."""
        for worker in [*self.idle, *self.starting.values(), *(w for w, _ in self.busy.values())]:
            self.ray.kill(worker)
        self.idle, self.starting, self.busy = [], {}, {}

    def keep_idle(self) -> None:
        """End the workers that nobody waits for any more: at work, or not there yet."""
        for worker in [*self.starting.values(), *(worker for worker, _ in self.busy.values())]:
            self.ray.kill(worker)
        self.starting, self.busy = {}, {}


@dataclass(frozen=True, slots=True)
class _Loss:
    """A worker that died."""

    reason: str


class _Work:
    """One run: the items that wait, and how often the workers of each have died."""

    def __init__(self, pool: _Pool, items: Sequence[Item], reporter: Reporter) -> None:
        self._pool = pool
        self._waiting = deque(items)
        self._losses: Counter[str] = Counter()
        self._false_starts = 0
        self._reporter = reporter
        self._moved_at = time.monotonic()
        self._is_told = False

    def results(self, num_workers: int) -> Iterator[tuple[Any, Done]]:
        """Yield the items as they are done."""
        pool = self._pool
        try:
            while self._waiting or pool.busy:
                pool.fill(min(num_workers, len(self._waiting) + len(pool.busy)))
                while self._waiting and pool.idle:
                    pool.give(self._waiting.popleft())
                arrived = pool.arrived()
                self._watch(is_still=not arrived and not pool.busy)
                for ref in arrived:
                    if ref in pool.starting:
                        self._begin(ref)
                    else:
                        yield from self._finish(ref)
        finally:
            pool.keep_idle()  # what is measured next has this machine alone

    def _watch(self, *, is_still: bool) -> None:
        """Tell once that no worker can begin, where the cluster leaves none any room."""
        now = time.monotonic()
        if not is_still:
            self._moved_at = now
        elif not self._is_told and now - self._moved_at >= PATIENCE_S:
            self._is_told = True
            self._reporter.warning(
                f"no worker on the Ray cluster could begin for {PATIENCE_S:g} seconds: others use "
                "its CPUs or GPUs, or it has lost nodes. The work goes on as soon as there is "
                "room; look at `ray status`."
            )

    def _begin(self, ref: object) -> None:
        worker = self._pool.starting.pop(ref)
        answer = self._answer(ref)
        if not isinstance(answer, _Loss):
            self._pool.idle.append(worker)
            self._false_starts = 0
            return
        self._pool.ray.kill(worker)
        self._false_starts += 1
        if self._false_starts > MAX_RETRIES:
            raise ClusterError(
                f"the workers on the Ray cluster must begin, {self._false_starts} in a row died "
                f"before: {answer.reason}. Look at the memory of the nodes, and at the logs of Ray "
                "there (/tmp/ray/session_latest/logs)."
            )

    def _finish(self, ref: object) -> Iterator[tuple[Any, Done]]:
        worker, item = self._pool.busy.pop(ref)
        answer = self._answer(ref)
        if not isinstance(answer, _Loss):
            self._pool.idle.append(worker)
            yield item, answer
            return
        self._pool.ray.kill(worker)
        self._losses[item.key] += 1
        losses = self._losses[item.key]
        if losses > MAX_RETRIES:
            raise ClusterError(
                f"{item.key}: the worker on the Ray cluster died {losses} times while working on "
                f"it: {answer.reason}. The kernel or Ray kills a process when memory runs out: "
                "lower evaluation.batch_size, or run fewer workers (more threads each). What "
                "others have computed is kept: run the same command again to go on."
            )
        self._reporter.warning(
            f"{item.key}: the worker died while working on it, it is tried again ({losses} of "
            f"{MAX_RETRIES}): {answer.reason}"
        )
        self._waiting.appendleft(item)

    def _answer(self, ref: object) -> Done | _Loss:
        """Return what a worker answered, or that it died.

        Raises:
            Exception: What the work itself raised.
        """
        errors = self._pool.ray.exceptions
        try:
            answer: Done = self._pool.ray.get(ref)
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, Exception) and not isinstance(cause, errors.RayError):
                raise cause from error
            raise
        except errors.RayError as error:
            return _Loss(_reason(str(error)))
        return answer


def _reason(text: str) -> str:
    """Return the part of Ray's message that says why a worker died."""
    lines = [line.strip() for line in _COLOR.sub("", text).splitlines() if line.strip()]
    details = [found[1] for line in lines if (found := _DETAIL.search(line))]
    if "creation task" in lines[0]:  # a traceback, with the error in its last line
        details = lines[-1:]
    return shorten((details or lines)[-1].rstrip("."), _MAX_REASON)
