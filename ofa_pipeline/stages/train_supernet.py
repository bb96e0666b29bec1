"""Stage ``train_supernet``: one phase of the supernet's training."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.artifacts import Manifest
from ofa_pipeline.compute import ALONE, Ranks, compute_device
from ofa_pipeline.data import Dataset, open_dataset
from ofa_pipeline.errors import LaunchError
from ofa_pipeline.evaluation import (
    CalibratedTeacher,
    SubnetEvaluator,
    evaluator_of,
    largest_after,
    watch_chance,
    watch_phase,
)
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages.ranks import do_on_ranks, stage_of_rank
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.supernet import (
    Supernet,
    build_supernet,
    check_compiler,
    check_supernet,
    compile_regions,
    extract_subnet,
    load_supernet,
    save_supernet,
    sort_for_smaller,
    store_statistics,
    zero_last_scales,
)
from ofa_pipeline.tables import HISTORY_SCHEMA, write_table
from ofa_pipeline.training import (
    Checkpoints,
    EpochRecord,
    Hooks,
    Phase,
    Sampled,
    Teacher,
    TrainingImages,
    derive_seed,
    deterministic,
    history_columns,
    launches_kernels,
    learns_from_previous,
    phase_of,
    recipe_of,
    train_phase,
    trained_so_far,
)

EVALUATION_BATCH_SIZE = 500


def run(stage: StageRun) -> None:
    """Train one phase from what it starts from and write the result."""
    launch_line = stage.context.params.compute.training.launch
    _tell_of_other_checkpoints(stage)
    if launch_line is not None:
        _train_on_ranks(stage, launch_line)
    with _bits(stage):
        _train(stage, Hooks() if launch_line else Hooks(stopwatch=stage.stopwatch))


def _tell_of_other_checkpoints(stage: StageRun) -> None:
    """Say that a phase begins anew though there are checkpoints: they are of something else."""
    if Checkpoints(stage.scratch).is_there or not stage.scratch.parent.is_dir():
        return
    folders = sorted(stage.scratch.parent.iterdir())
    if others := [folder for folder in folders if Checkpoints(folder).is_there]:
        paths = ", ".join(str(folder.relative_to(stage.layout.root)) for folder in others)
        stage.reporter.message(
            f"begins anew: what an earlier training left in {paths} is of other params, images or "
            "code, and goes on when they are as they were; remove it if they never will be"
        )


def _bits(stage: StageRun) -> AbstractContextManager[None]:
    """Return the settings of torch that the weights' bits depend on."""
    training = stage.params.training
    return deterministic(threads=training.threads, is_wanted=training.deterministic)


def _train_on_ranks(stage: StageRun, launch_line: str) -> None:
    """Have ranks train the phase; what they leave is a checkpoint at its end.

    Raises:
        ParamsError: If the line cannot be run here.
        LaunchError: If a rank failed or was killed, or the checkpoint is nowhere to be seen.
    """
    checkpoints = Checkpoints(stage.scratch)
    if checkpoints.is_there:
        stage.stopwatch.expect_earlier()
    do_on_ranks(stage, launch_line, work=f"{__name__}:train_rank")
    if not checkpoints.is_there:
        raise LaunchError(
            f"the ranks must leave a checkpoint in {stage.scratch}, there is none. Put the "
            "workspace on a file system that all nodes share."
        )


def train_rank(arguments: Mapping[str, Any], ranks: Ranks, reporter: Reporter) -> None:
    """Train a phase together with other ranks."""
    stage = stage_of_rank(arguments, reporter)
    with _bits(stage):
        start = _start(stage)
        validation = _validation(stage, start, ranks)
        _train_from(stage, start, validation, Hooks(ranks=ranks))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """What a phase starts from, and what it trains."""

    dataset: Dataset
    images: TrainingImages
    phase: Phase
    supernet: Supernet
    previous: Manifest | None
    """Of the phase before; None for the first."""


def _start(stage: StageRun) -> _Start:
    training, settings = stage.params.training, stage.params.phases[stage.item]
    previous, space = _previous(stage), stage.params.space.build()
    dataset = open_dataset(stage.layout.dataset)
    images = TrainingImages(split=dataset.split("train"), normalization=dataset.normalization)
    steps = images.split.num_images // training.batch_size
    supernet = _starting_supernet(stage, space, dataset).to(compute_device())
    if stage.context.params.compute.training.compile and launches_kernels(space.resolutions_px):
        check_compiler()
        compile_regions(supernet)
    return _Start(
        dataset=dataset,
        images=images,
        phase=phase_of(stage.item, settings, space, training=training, steps_per_epoch=steps),
        supernet=supernet,
        previous=previous,
    )


def _train(stage: StageRun, hooks: Hooks) -> None:
    layout, settings = stage.layout, stage.params.phases[stage.item]
    start = _start(stage)
    supernet, previous = start.supernet, start.previous
    space = supernet.space
    # Few images would hide what a phase does to the largest subnet: it is measured on all of them.
    everything = partial(_evaluator, stage, supernet, start.dataset)
    before = everything().evaluate(space.largest) if previous else None
    validation = _validation(stage, start, ALONE)
    history = _train_from(stage, start, validation, hooks)
    after = everything().evaluate(space.largest)
    largest = largest_after(after, before, previous.summary if previous else None)
    warnings = (
        watch_phase(largest, phase=stage.item, is_sandwich=settings.sampling == "sandwich"),
        watch_chance(largest, start.dataset.split("selection").labels.tolist(), phase=stage.item),
    )
    # For whoever runs the supernet itself in evaluation mode; subnets are calibrated anyway.
    store_statistics(supernet, validation.calibrated_subnet(space.largest))
    columns = history_columns(history)
    with stage.writing() as writer:
        save_supernet(supernet.cpu(), writer.folder / layout.supernet_weights(stage.item).name)
        table = writer.folder / layout.supernet_history(stage.item).name
        write_table(table, HISTORY_SCHEMA, columns)
        writer.summary |= {key: values[-1] for key, values in columns.items()}
        writer.summary |= trained_so_far(start.phase, previous.summary if previous else None)
        writer.summary |= largest.to_summary()
        stage.warn(warnings, writer)


def _train_from(
    stage: StageRun, start: _Start, validation: SubnetEvaluator, hooks: Hooks
) -> list[EpochRecord]:
    """Train the supernet in place; hooks say by whom, and who takes the time."""
    training, settings = stage.params.training, stage.params.phases[stage.item]
    teacher = _teacher(stage, start)
    if start.previous is not None:
        # What it was trained on, not what params.yaml says now.
        trained = start.previous.params[f"phases.{start.previous.item}"]
        sort_for_smaller(
            start.supernet,
            trained=(trained["expand_ratios"], trained.get("width_multipliers")),
            wanted=(settings.expand_ratios, settings.width_multipliers),
        )
    return train_phase(
        start.supernet,
        start.phase,
        images=start.images,
        recipe=recipe_of(training),
        teacher=teacher,
        hooks=replace(
            hooks,
            validate=_validate(validation, start.phase),
            checkpoints=Checkpoints(
                stage.scratch, interval_s=60 * stage.context.params.checkpoint_minutes
            ),
            reporter=stage.reporter,
        ),
    )


def _previous(stage: StageRun) -> Manifest | None:
    """Return the manifest of the previous phase; None for the first."""
    previous = stage.params.phases[stage.item].previous
    if previous is None:
        return None
    return Manifest.read(stage.layout.supernet(previous), made_by=_remake(previous))


def _remake(phase: str) -> str:
    return f"ofa-pipeline stage train_supernet --item {phase}"


def _starting_supernet(stage: StageRun, space: SearchSpace, dataset: Dataset) -> Supernet:
    """Load what the phase starts from, or build a supernet with random weights."""
    training, settings = stage.params.training, stage.params.phases[stage.item]
    num_classes = dataset.num_classes
    if settings.starting_artifact is None:
        seed = derive_seed(training.seed, "weights")
        supernet = build_supernet(
            space, num_classes=num_classes, dropout=training.dropout, seed=seed
        )
        if settings.zero_gamma:
            zero_last_scales(supernet)
        return supernet
    path = stage.layout.supernet_in(settings.starting_artifact)
    remake = _remake(settings.previous) if settings.previous else "ofa-pipeline run"
    Manifest.read(path.parent, made_by=remake)  # that the artifact is there
    supernet = load_supernet(path)
    check_supernet(supernet, space, num_classes=num_classes, path=path, remake=remake)
    supernet.dropout = training.dropout
    return supernet


def _validation(stage: StageRun, start: _Start, ranks: Ranks) -> SubnetEvaluator:
    """Return what validates after each epoch."""
    num_images = stage.params.training.validation_images
    evaluator = _evaluator(stage, start.supernet, start.dataset, num_images=num_images)
    return replace(evaluator, ranks=ranks)


def _evaluator(
    stage: StageRun, supernet: Supernet, dataset: Dataset, *, num_images: int | None = None
) -> SubnetEvaluator:
    """Return an evaluator on the first selection images, or on all of them."""
    return evaluator_of(
        supernet,
        dataset,
        calibration_images=stage.params.training.calibration_images,
        batch_size=EVALUATION_BATCH_SIZE,
        evaluation_images=num_images,
    )


def _teacher(stage: StageRun, start: _Start) -> Teacher | None:
    """Return the previous phase's largest subnet; None where it does not teach."""
    if not learns_from_previous(stage.params.phases[stage.item]):
        return None
    supernet, archs = start.supernet, start.phase.archs
    largest = extract_subnet(supernet, supernet.space.largest)
    teacher = CalibratedTeacher(largest, _evaluator(stage, supernet, start.dataset))
    assert isinstance(archs, Sampled)
    return Teacher(teacher, None if archs.shares_resolution else largest.arch.resolution_px)


def _validate(evaluator: SubnetEvaluator, phase: Phase) -> Callable[[], Mapping[str, float]]:
    """Return what measures the largest subnet of all and the smallest of the phase."""
    assert isinstance(phase.archs, Sampled)
    archs = {
        "accuracy_top1_largest": evaluator.supernet.space.largest,
        "accuracy_top1_smallest": phase.archs.space.smallest,
    }
    return lambda: {name: evaluator.evaluate(arch).accuracy_top1 for name, arch in archs.items()}
