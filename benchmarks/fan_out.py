"""Subnets evaluated a minute: one at a time, on the cores of this machine, on a Ray cluster.

In a workspace with a trained supernet:

    python benchmarks/fan_out.py --workspace . [--num-subnets 60] [--address local]

Each executor measures the same random subnets as collect_accuracy does: calibrated, folded, on all
selection images. One JSON object an executor. ``subnets_per_minute`` counts from the moment that
every worker has measured one; what lies before, starting and loading, is ``start_s``. ``speedup``
is against ``serial``, and ``bit_equal`` says whether all figures have its bits.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from benchmark_options import at_least, told

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.compute import (
    SERIAL,
    Executor,
    LocalExecutor,
    RayExecutor,
    free_workers,
    ray_executor,
)
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.evaluation import AccuracyBench, AccuracyTask
from ofa_pipeline.memory import keep_freed_memory
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.training import deterministic

Results = dict[str, dict[str, object]]


def executors(
    layout: Layout, params: Params, address: str
) -> Iterator[tuple[str, Callable[[], AbstractContextManager[Executor]]]]:
    """Yield the name of each executor, and what opens it."""
    yield "serial", lambda: nullcontext(SERIAL)
    yield "local", lambda: nullcontext(LocalExecutor())
    yield (
        "ray",
        lambda: ray_executor(
            address=address,
            gpus_per_worker=params.compute.fan_out.gpus_per_worker,
            threads=params.evaluation.threads,
            folder=layout.root,
        ),
    )


def measure(
    executor: Executor, bench: AccuracyBench, tasks: list[AccuracyTask]
) -> tuple[int, Results, float]:
    """Return the workers, what each task measured, and the seconds from warm workers on."""
    workers = 1 if executor is SERIAL else free_workers()
    if isinstance(executor, RayExecutor):
        workers = executor.num_workers
    if len(tasks) <= workers:
        raise OfaPipelineError(
            f"--num-subnets must bring more different subnets than the {workers} workers, which "
            f"warm up with one each, but brings {len(tasks)}. Raise it."
        )
    results = {task.key: row for task, row in executor.run(bench, tasks[:workers])}
    start = time.perf_counter()
    results |= {task.key: row for task, row in executor.run(bench, tasks[workers:])}
    return workers, results, time.perf_counter() - start


def main() -> None:
    """Print one JSON object an executor."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--num-subnets", type=at_least(2), default=60)
    parser.add_argument("--address", default="local", help="of the Ray cluster")
    options = parser.parse_args()
    keep_freed_memory()
    layout = Layout(options.workspace.resolve())
    params = load_params(layout.root / "params.yaml")
    bench = AccuracyBench(
        layout.dataset,
        layout.supernet_weights(params.final_phase),
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
    )
    space = bench.evaluator.supernet.space
    genes = space.sample(np.random.default_rng(0), options.num_subnets)
    tasks = [AccuracyTask(arch=arch) for arch in dict.fromkeys(space.archs(genes))]
    serial: tuple[Results, float] | None = None
    with deterministic(threads=params.evaluation.threads):
        for name, opened in executors(layout, params, options.address):
            begun = time.perf_counter()
            with opened() as executor:
                workers, results, seconds = measure(executor, bench, tasks)
                start_s = time.perf_counter() - begun - seconds
            rate = (len(tasks) - workers) / seconds * 60
            serial = serial or (results, rate)
            line = {
                "executor": name,
                "workers": workers,
                "subnets_per_minute": round(rate, 1),
                "speedup": round(rate / serial[1], 2),
                "bit_equal": results == serial[0],
                "start_s": round(start_s, 1),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(told(main))
