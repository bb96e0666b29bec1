"""What every stage does: check what it reads, resume, write one artifact, take the time."""

import importlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_pipeline.artifacts import (
    ArtifactWriter,
    Layout,
    digest_input,
    digest_json,
    write_artifact,
)
from ofa_pipeline.compute import Executor, LocalExecutor
from ofa_pipeline.integrity import verify_inputs
from ofa_pipeline.measuring import MeasurementLog
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.run_warnings import RunWarning, keep_warnings, read_warnings
from ofa_pipeline.stages.fan_out import executor_of
from ofa_pipeline.stages.given import declared_params
from ofa_pipeline.stages.table import (
    STAGES,
    Stage,
    check_item,
    find_stage,
    items_of,
    param_sections,
    read_paths,
)
from ofa_pipeline.stopwatch import FILE_NAME, FINISHED_KEY, Stopwatch

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

_BESIDE = "beside"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """What a stage is run in: where files lie, all params, its item, where to report."""

    layout: Layout
    params: "Params"
    item: str | None = None
    reporter: Reporter = SILENT
    executor: Executor | None = None
    """Computes many subnets; the results do not depend on it. None: as ``compute.fan_out`` says."""


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One run of a stage: what the stage is given, and what every stage does with it."""

    stage: Stage
    item: str
    """The phase, device or kind of weights; empty where the stage has none."""
    layout: Layout
    params: "Params"
    """The sections that the stage declares; asking for another one is an error."""
    inputs: Mapping[str, Any]
    """The arguments of `write_artifact`: stage, item, params, inputs."""
    reporter: Reporter
    executor: Executor
    context: StageContext
    """What it was begun with, for whoever begins it in another process as well."""
    stopwatch: Stopwatch
    """Runs while the stage does; to be noted wherever the stage saves its work."""
    beside: Path = Path()
    """Folder of a timed stage for what is worth keeping but differs from run to run. It is kept
    over a kill; its files end beside the seconds, see `Stage.writes_seconds`."""

    @classmethod
    def begin(cls, stage: Stage, context: StageContext, stopwatch: Stopwatch) -> "StageRun":
        """Return the run of a stage for the item of a context."""
        sections = param_sections(stage, context.item)
        return cls(
            stage=stage,
            item=context.item or "",
            layout=context.layout,
            params=declared_params(context.params, sections, stage=stage.name),
            inputs=stage_inputs(stage, context),
            reporter=context.reporter,
            executor=context.executor or LocalExecutor(),
            context=context,
            stopwatch=stopwatch,
        )

    @property
    def folder(self) -> Path:
        """The artifact that the stage writes."""
        return self.layout.root / self.stage.writes.format(item=self.item)

    @property
    def cluster(self) -> str:
        """Address of the Ray cluster that a device may be a node of; no result depends on it."""
        return self.context.params.compute.fan_out.address

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the artifact is made from, relative to the workspace."""
        return tuple(self.layout.relative(path) for path in self.inputs["inputs"])

    @cached_property
    def scratch(self) -> Path:
        """Folder of the resume state: of this item, these inputs and these params only."""
        digests = [digest_input(path) for path in self.inputs["inputs"]]
        key = digest_json([self.item, self.inputs["params"], digests])
        return self.layout.scratch(self.stage.name, key)

    def log(self, name: str = "measured") -> MeasurementLog:
        """Return the notes of what an interrupted run has measured, in a file of this name."""
        path = self.scratch / f"{name}.jsonl"
        return MeasurementLog(path, reporter=self.reporter, stopwatch=self.stopwatch)

    @contextmanager
    def writing(self) -> Iterator[ArtifactWriter]:
        """Write the artifact, whole or not at all; then the resume state goes.

        Raises:
            MissingArtifactError: If an input has no manifest.
        """
        with write_artifact(self.folder, **self.inputs) as writer:
            yield writer
        shutil.rmtree(self.scratch, ignore_errors=True)

    def warn(self, warnings: Sequence[RunWarning | None], writer: ArtifactWriter) -> None:
        """Keep warnings in the artifact that is being written, and report them."""
        keep_warnings(warnings, writer, self.reporter)


def stage_inputs(stage: Stage, context: StageContext) -> dict[str, Any]:
    """Return the arguments of `write_artifact` for a stage: stage, item, params, inputs."""
    watched = read_paths(replace(stage, reads=stage.watches), context.item, context.params)
    return {
        "stage": stage.name,
        "item": context.item,
        "params": context.params.sections(param_sections(stage, context.item)),
        "inputs": [
            context.layout.root / path
            for path in read_paths(stage, context.item, context.params)
            if path not in watched
        ],
    }


def run_stage(name: str, context: StageContext) -> Path:
    """Run one stage and return its artifact folder.

    What it reads is checked first, so that nothing is computed on damaged files.

    Raises:
        ParamsError: If the stage is unknown, or its item is missing or unknown.
        ManifestMismatchError: If a file that it reads is not as it was written.
        OfaPipelineError: Whatever the stage finds wrong.
    """
    stage = find_stage(name)
    check_item(stage, context.item, context.params)
    stopwatch = Stopwatch()
    begun = StageRun.begin(stage, context, stopwatch)
    verify_inputs(begun.inputs["inputs"], root=context.layout.root)
    module = importlib.import_module(f"ofa_pipeline.stages.{stage.name}")
    run: Callable[[StageRun], None] = module.run
    if not stage.is_timed:
        run(begun)
        return begun.folder
    notes = _notes_of_seconds(begun)
    with (
        Stopwatch(notes / FILE_NAME, reporter=context.reporter) as stopwatch,
        executor_of(stage, context, stopwatch) as executor,
    ):
        run(replace(begun, stopwatch=stopwatch, executor=executor, beside=notes / _BESIDE))
    _write_seconds(begun, stopwatch, notes / _BESIDE)
    shutil.rmtree(notes)
    return begun.folder


def missing_outside(
    stage: Stage, item: str | None, *, layout: Layout, params: "Params"
) -> tuple[str, ...]:
    """Return what has changed outside of the workspace since a stage ran, in a phrase each.

    DVC sees files alone: where something that the stage made is gone, or the machine that it
    measured is another one, the stage has to run again although nothing that it reads has changed.
    Its module says so, ``missing_outside(layout, params, item)``.
    """
    if not stage.makes_outside:
        return ()
    module = importlib.import_module(f"ofa_pipeline.stages.{stage.name}")
    find: Callable[[Layout, Params, str | None], tuple[str, ...]] = module.missing_outside
    return find(layout, params, item)


def warnings_of_run(layout: Layout, params: "Params") -> tuple[RunWarning, ...]:
    """Return what the artifacts of a workspace warn about, in the order of the stages.

    Raises:
        ManifestMismatchError: If an artifact does not hold what its stage writes.
    """
    folders = [
        layout.root / stage.writes.format(item=item)
        for stage in STAGES
        for item in items_of(stage, params)
    ]
    return tuple(warning for folder in folders for warning in read_warnings(folder))


def _notes_of_seconds(run: StageRun) -> Path:
    """Return where unfinished runs note their seconds: as their other notes, under its inputs."""
    digests = [digest_input(path) for path in run.inputs["inputs"] if path.exists()]
    key = digest_json([run.stage.name, run.inputs["item"], run.inputs["params"], digests])
    return run.layout.scratch("seconds", key)


def _write_seconds(run: StageRun, stopwatch: Stopwatch, beside: Path) -> None:
    path = run.layout.root / run.stage.writes_seconds.format(item=run.item)
    with write_artifact(
        path, stage=run.stage.name, item=run.inputs["item"], params={}, inputs=[run.folder]
    ) as writer:
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        writer.summary |= {**stopwatch.seconds.to_dict(), FINISHED_KEY: finished}
        for file in sorted(beside.glob("*")):
            if file.suffix != ".bad":  # what was set aside as damaged
                shutil.copy(file, writer.folder)
