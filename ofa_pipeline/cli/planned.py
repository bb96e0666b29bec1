"""A plan on the screen: a row a stage, and what the run needs."""

from dataclasses import dataclass

from rich.table import Table

from ofa_pipeline.cli.display import duration_text
from ofa_pipeline.planning import Plan

_GIB = 2**30
_MIB = 2**20
_NEARLY = 0.9
_WORDS = {
    "runs": "runs",
    "restored": "restored",
    "current": "up to date",
    "checked": "runs each time",
}


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A line below the table."""

    text: str
    is_warning: bool = False


def plan_table(plan: Plan) -> Table:
    """Return the stages with their seconds and what these come from."""
    table = Table()
    for name in ("", "stage", "state", "time", "from"):
        table.add_column(name, justify="right" if name in ("", "time") else "left")
    for number, stage in enumerate(plan.stages, 1):
        is_idle = stage.state == "current"
        table.add_row(
            str(number),
            stage.address,
            _WORDS[stage.state],
            "" if is_idle else duration_text(stage.seconds),
            stage.basis,
            style="dim" if is_idle else None,
        )
    return table


def plan_lines(plan: Plan) -> list[PlanLine]:
    """Return what the run needs, and what a reader should know."""
    running = f"{plan.num_running} of {len(plan.stages)} stages to bring up to date"
    lines = [PlanLine(f"{running}, about {duration_text(plan.seconds)} on this machine")]
    free, needed = plan.machine.free_disk_bytes, plan.disk_bytes
    lines.append(
        PlanLine(
            f"disk: about {_size(needed)} for all artifacts, {_size(free)} free",
            is_warning=needed > free,
        )
    )
    if plan.memory_bytes is not None:
        there = plan.machine.memory_bytes
        lines.append(
            PlanLine(
                f"memory: about {_size(plan.memory_bytes)} in training, of {_size(there)}",
                is_warning=plan.memory_bytes > _NEARLY * there,
            )
        )
    if plan.gpu_memory_bytes is not None:
        there = plan.machine.gpu_memory_bytes
        lines.append(
            PlanLine(
                f"GPU memory: about {_size(plan.gpu_memory_bytes)}, of {_size(there)}",
                is_warning=plan.gpu_memory_bytes > _NEARLY * there,
            )
        )
    lines.append(PlanLine(f"machine: {plan.machine.text}"))
    lines += [PlanLine(f"note: {note}") for note in plan.notes]
    lines += [PlanLine(f"the run would stop: {text}", is_warning=True) for text in plan.warnings]
    return lines


def _size(num_bytes: float) -> str:
    if num_bytes >= _GIB:
        return f"{num_bytes / _GIB:.1f} GiB"
    return f"{max(1, round(num_bytes / _MIB))} MiB"
