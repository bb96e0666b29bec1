"""The stages: files in, library calls, files and a manifest out.

A stage is a function of files and params in a module of its own name, ``run(stage)``. What every
stage does lies in `ofa_pipeline.stages.run`, and which stages there are in
`ofa_pipeline.stages.table`. No stage imports another; none knows Prefect or DVC.
"""

from ofa_pipeline.stages.run import (
    StageContext,
    StageRun,
    missing_outside,
    run_stage,
    stage_inputs,
    warnings_of_run,
)
from ofa_pipeline.stages.table import (
    SECONDS,
    STAGES,
    ItemKind,
    Stage,
    check_item,
    find_stage,
    items_of,
    param_sections,
    read_paths,
)

__all__ = [
    "SECONDS",
    "STAGES",
    "ItemKind",
    "Stage",
    "StageContext",
    "StageRun",
    "check_item",
    "find_stage",
    "items_of",
    "missing_outside",
    "param_sections",
    "read_paths",
    "run_stage",
    "stage_inputs",
    "warnings_of_run",
]

OPEN_MODULES = ("events",)
"""What a stage tells the flow that runs it."""
