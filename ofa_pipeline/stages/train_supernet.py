"""Stage ``train_supernet``: one phase of the supernet's training."""

from collections.abc import Callable, Mapping

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.artifacts import Manifest
from ofa_pipeline.compute import compute_device
from ofa_pipeline.data import Dataset, open_dataset
from ofa_pipeline.evaluation import (
    CalibratedTeacher,
    SubnetEvaluator,
    evaluator_of,
    largest_after,
    watch_phase,
)
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.supernet import (
    Supernet,
    build_supernet,
    check_supernet,
    extract_subnet,
    load_supernet,
    save_supernet,
    sort_for_smaller,
    store_statistics,
)
from ofa_pipeline.tables import HISTORY_SCHEMA, write_table
from ofa_pipeline.training import (
    Checkpoints,
    Hooks,
    Phase,
    Sampled,
    Teacher,
    TrainingImages,
    build_teaching,
    derive_seed,
    deterministic,
    history_columns,
    phase_of,
    recipe_of,
    train_phase,
    trained_so_far,
)

EVALUATION_BATCH_SIZE = 500


def run(stage: StageRun) -> None:
    """Train one phase from what it starts from and write the result."""
    with deterministic(threads=stage.params.training.threads):
        _train(stage)


def _train(stage: StageRun) -> None:
    layout, training = stage.layout, stage.params.training
    settings, previous = stage.params.phases[stage.item], _previous(stage)
    dataset, space = open_dataset(layout.dataset), stage.params.space.build()
    images = TrainingImages(split=dataset.split("train"), normalization=dataset.normalization)
    steps = images.split.num_images // training.batch_size
    phase = phase_of(stage.item, settings, space, steps_per_epoch=steps)
    supernet = _starting_supernet(stage, space, dataset).to(compute_device())
    # Few images would hide what a phase does to the largest subnet: it is measured on all of them.
    before = _evaluator(stage, supernet, dataset).evaluate(space.largest) if previous else None
    validation = _evaluator(stage, supernet, dataset, num_images=training.validation_images)
    teacher = _teacher(stage, supernet, dataset)
    if previous is not None:
        trained = previous.params[f"phases.{previous.item}"]  # not what params.yaml says now
        sort_for_smaller(
            supernet,
            trained=(trained["expand_ratios"], trained.get("width_multipliers")),
            wanted=(settings.expand_ratios, settings.width_multipliers),
        )
    history = train_phase(
        supernet,
        phase,
        images=images,
        recipe=recipe_of(training),
        teacher=teacher,
        hooks=Hooks(
            validate=_validate(validation, phase),
            checkpoints=Checkpoints(stage.scratch, interval_s=60 * training.checkpoint_minutes),
            reporter=stage.reporter,
            stopwatch=stage.stopwatch,
        ),
    )
    after = _evaluator(stage, supernet, dataset).evaluate(space.largest)
    largest = largest_after(after, before, previous.summary if previous else None)
    warning = watch_phase(largest, phase=stage.item, is_sandwich=settings.sampling == "sandwich")
    # For whoever runs the supernet itself in evaluation mode; subnets are calibrated anyway.
    store_statistics(supernet, validation.calibrated_subnet(space.largest))
    columns = history_columns(history)
    with stage.writing() as writer:
        save_supernet(supernet.cpu(), writer.folder / layout.supernet_weights(stage.item).name)
        table = writer.folder / layout.supernet_history(stage.item).name
        write_table(table, HISTORY_SCHEMA, columns)
        writer.summary |= {key: values[-1] for key, values in columns.items()}
        writer.summary |= trained_so_far(phase, previous.summary if previous else None)
        writer.summary |= largest.to_summary()
        stage.warn([warning], writer)


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
        return build_supernet(space, num_classes=num_classes, dropout=training.dropout, seed=seed)
    path = stage.layout.supernet_in(settings.starting_artifact)
    remake = _remake(settings.previous) if settings.previous else "ofa-pipeline run"
    Manifest.read(path.parent, made_by=remake)  # that the artifact is there
    supernet = load_supernet(path)
    check_supernet(supernet, space, num_classes=num_classes, path=path, remake=remake)
    supernet.dropout = training.dropout
    return supernet


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


def _teacher(stage: StageRun, supernet: Supernet, dataset: Dataset) -> Teacher | None:
    """Return the previous phase's largest subnet; None for the first, or where taught in place."""
    settings = stage.params.phases[stage.item]
    if build_teaching(settings.teacher).is_in_place or settings.previous is None:
        return None
    largest = extract_subnet(supernet, supernet.space.largest)
    teacher = CalibratedTeacher(largest, _evaluator(stage, supernet, dataset))
    is_uniform = settings.sampling == "uniform"
    return Teacher(teacher, None if is_uniform else largest.arch.resolution_px)


def _validate(evaluator: SubnetEvaluator, phase: Phase) -> Callable[[], Mapping[str, float]]:
    """Return what measures the largest subnet of all and the smallest of the phase."""
    assert isinstance(phase.archs, Sampled)
    archs = {
        "accuracy_top1_largest": evaluator.supernet.space.largest,
        "accuracy_top1_smallest": phase.archs.space.smallest,
    }
    return lambda: {name: evaluator.evaluate(arch).accuracy_top1 for name, arch in archs.items()}
