"""A part of a stage that several processes do together: started here, begun there."""

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.launching import Mailbox, Request, launch
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages.run import StageContext, StageRun
from ofa_pipeline.stages.table import find_stage
from ofa_pipeline.stopwatch import Seconds, Stopwatch


def do_on_ranks(stage: StageRun, line: str, *, work: str) -> None:
    """Have ranks do a part of a stage, and wait until all are done.

    Args:
        stage: The stage; the ranks get its workspace, item and params as they are now.
        line: What starts them.
        work: ``module:function`` of that part; it begins with `stage_of_rank`.

    Raises:
        ParamsError: If the line cannot be run here.
        LaunchError: If a rank failed or was killed.
    """
    before = _seconds_of_children()
    try:
        launch(
            line,
            Request.of_this_process(work, stage_arguments(stage)),
            mailbox=Mailbox(stage.scratch.resolve() / "ranks"),
            reporter=stage.reporter,
        )
    finally:
        stage.stopwatch.add(Seconds(cpu_s=_seconds_of_children() - before))


def stage_arguments(stage: StageRun) -> dict[str, Any]:
    """Return plain values from which `stage_of_rank` begins the stage in another process."""
    return {
        "workspace": str(stage.layout.root.resolve()),
        "stage": stage.stage.name,
        "item": stage.item,
        "params": stage.context.params.model_dump(mode="json", exclude_unset=True),
    }


def stage_of_rank(arguments: Mapping[str, Any], reporter: Reporter) -> StageRun:
    """Return the run of a stage that a rank does a part of."""
    from ofa_pipeline.params import parse_params

    context = StageContext(
        layout=Layout(Path(arguments["workspace"])),
        params=parse_params(arguments["params"], origin="the stage that launched this rank"),
        item=arguments["item"] or None,
        reporter=reporter,
    )
    return StageRun.begin(find_stage(arguments["stage"]), context, Stopwatch())


def _seconds_of_children() -> float:
    """Return the CPU seconds of the processes that this one has waited for, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
