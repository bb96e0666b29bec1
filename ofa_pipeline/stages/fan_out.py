"""Who computes the subnets of a stage: this machine, or the cluster that params.yaml names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ofa_pipeline.compute import Executor, LocalExecutor, ray_executor
from ofa_pipeline.stages.table import Stage
from ofa_pipeline.stopwatch import Seconds, Stopwatch

if TYPE_CHECKING:
    from ofa_pipeline.stages.run import StageContext


@contextmanager
def executor_of(stage: Stage, context: "StageContext", stopwatch: Stopwatch) -> Iterator[Executor]:
    """Give what computes the subnets of a stage, while the body runs.

    Raises:
        ClusterError: If the cluster of ``compute.fan_out`` cannot be used.
    """
    params = context.params
    settings = params.compute.fan_out
    if context.executor is not None:
        yield context.executor
    elif settings.executor == "local" or not stage.fans_out:
        yield LocalExecutor()
    else:
        with ray_executor(
            address=settings.address,
            gpus_per_worker=settings.gpus_per_worker,
            threads=max(params.evaluation.threads, params.training.threads),
            folder=context.layout.root.resolve(),
            reporter=context.reporter,
            spend=lambda cpu_s, on_cuda: stopwatch.add(Seconds(cpu_s=cpu_s, on_cuda=on_cuda)),
        ) as executor:
            yield executor
