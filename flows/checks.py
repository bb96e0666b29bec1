"""What is found out in seconds, before hours of training."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.names import name_of_task_run
from flows.stages import DISPLAY
from ofa_pipeline import preflight
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.graph import check_graph
from ofa_pipeline.params import Params
from ofa_pipeline.registry import check_registry


@task(task_run_name=name_of_task_run, cache_policy=NO_CACHE, persist_result=False)
def check_run(root: Path, params: Params, *, reads_images: bool = True) -> None:
    """Check what `ofa-pipeline params check` checks, and that the registry will take our names.

    Args:
        root: The workspace.
        params: Params of the workspace.
        reads_images: Whether the source of images is looked at, too.

    Raises:
        OfaPipelineError: If something is not fit for what the params ask; says what to do.
    """
    if warning := check_graph(root):
        warn(warning)
    preflight.check_before_work(params, root, reads_images=reads_images)
    check_registry(Layout(root), params)


def warn(text: str) -> None:
    """Say something that does not stop the run, in Prefect's log and on the terminal."""
    get_run_logger().warning(text)
    if display := DISPLAY.get():
        display.line(f"warning: {text}", style="yellow")
