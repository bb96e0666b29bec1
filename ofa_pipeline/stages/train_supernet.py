"""Stage ``train_supernet``: one phase of the supernet's training."""

import shutil
from collections.abc import Callable, Mapping, Sequence

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.artifacts import (
    Manifest,
    digest_input,
    digest_json,
    remedy_for,
    write_artifact,
)
from ofa_pipeline.compute import compute_device
from ofa_pipeline.data import Dataset, open_dataset
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.evaluation import (
    CalibratedTeacher,
    LargestSubnet,
    SubnetAccuracy,
    SubnetEvaluator,
    evaluator_of,
    first_largest,
    next_largest,
    watch_phase,
)
from ofa_pipeline.params import PhaseParams, TrainingParams
from ofa_pipeline.run_warnings import keep_warnings
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.supernet import (
    ResNetSupernet,
    Supernet,
    build_supernet,
    extract_subnet,
    load_supernet,
    save_supernet,
    sort_channels,
    sort_widths,
    store_statistics,
)
from ofa_pipeline.tables import HISTORY_SCHEMA, write_table
from ofa_pipeline.training import (
    Checkpoints,
    EpochRecord,
    Hooks,
    Phase,
    Recipe,
    Sampled,
    Schedule,
    Teacher,
    TrainingImages,
    derive_seed,
    deterministic,
    epochs_for,
    train_phase,
)

NAME = "train_supernet"
EVALUATION_BATCH_SIZE = 500


def run(context: StageContext) -> None:
    """Train one phase from what it starts from and write the result."""
    with deterministic(threads=context.params.training.threads):
        _train(context)


def _train(context: StageContext) -> None:
    layout, params = context.layout, context.params
    name = context.item or ""
    inputs = stage_inputs(find_stage(NAME), context)
    digests = [digest_input(path) for path in inputs["inputs"]]
    dataset, space = open_dataset(layout.dataset), params.space.build()
    steps = dataset.split("train").num_images // params.training.batch_size
    phase = phase_of(name, params.phases[name], space, steps_per_epoch=steps)
    supernet = _starting_supernet(context, space, dataset).to(compute_device())
    before = _accuracy_before(context, supernet, dataset)
    evaluator = _evaluator(
        supernet, dataset, params.training, num_images=params.training.validation_images
    )
    teacher = _teacher(context, supernet, dataset)
    _sort_for_smaller_subnets(context, supernet)

    scratch = layout.scratch(NAME, digest_json([name, inputs["params"], digests]))
    history = train_phase(
        supernet,
        phase,
        images=TrainingImages(split=dataset.split("train"), normalization=dataset.normalization),
        recipe=recipe_of(params.training),
        teacher=teacher,
        hooks=Hooks(
            validate=_validation(evaluator, phase),
            checkpoints=Checkpoints(scratch, interval_s=60 * params.training.checkpoint_minutes),
            reporter=context.reporter,
            stopwatch=context.stopwatch,
        ),
    )
    largest = _largest(context, before, _accuracy_of_largest(supernet, dataset, params.training))
    warning = watch_phase(
        largest, phase=name, is_sandwich=params.phases[name].sampling == "sandwich"
    )
    # For whoever runs the supernet itself in evaluation mode; subnets are calibrated anyway.
    store_statistics(supernet, evaluator.calibrated_subnet(space.largest))
    with write_artifact(layout.supernet(name), **inputs) as writer:
        save_supernet(supernet.cpu(), writer.folder / layout.supernet_weights(name).name)
        columns = _history_columns(history)
        write_table(writer.folder / layout.supernet_history(name).name, HISTORY_SCHEMA, columns)
        writer.summary |= {key: values[-1] for key, values in columns.items()}
        writer.summary |= _so_far(context, phase)
        writer.summary |= largest.to_summary()
        keep_warnings([warning], writer, context.reporter)
    shutil.rmtree(scratch, ignore_errors=True)


def recipe_of(training: TrainingParams) -> Recipe:
    """Return what all phases share, from the section of params.yaml."""
    return Recipe(
        batch_size=training.batch_size,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        distillation_weight=training.distillation_weight,
        augmentation=training.augmentation,
        seed=training.seed,
        batch_norm_images=training.batch_norm_images,
    )


def phase_of(name: str, params: PhaseParams, space: SearchSpace, *, steps_per_epoch: int) -> Phase:
    """Return a phase, from its entry in params.yaml."""
    elastic = space.restrict(
        depths=params.depths,
        kernel_sizes=params.kernel_sizes,
        expand_ratios=params.expand_ratios,
        width_multipliers=params.width_multipliers,
    )
    return Phase(
        name=name,
        archs=Sampled(
            space=elastic,
            per_step=params.subnets_per_step,
            sampling=params.sampling,
        ),
        schedule=Schedule(
            epochs=epochs_for(
                params.epochs, min_steps=params.min_steps, steps_per_epoch=steps_per_epoch
            ),
            warmup_epochs=params.warmup_epochs,
            learning_rate=params.learning_rate,
            cosine=params.cosine,
        ),
        first_share=params.largest_share,
        in_place=params.teacher == "in_place",
    )


def _starting_supernet(context: StageContext, space: SearchSpace, dataset: Dataset) -> Supernet:
    """Load what the phase starts from, or build a supernet with random weights."""
    training = context.params.training
    start = context.params.phases[context.item or ""].starting_artifact
    if start is None:
        return build_supernet(
            space,
            num_classes=dataset.num_classes,
            dropout=training.dropout,
            seed=derive_seed(training.seed, "weights"),
        )
    path = context.layout.supernet_in(start)
    supernet = load_supernet(path)
    if supernet.space != space or supernet.num_classes != dataset.num_classes:
        raise ManifestMismatchError(
            f"{path} must hold a supernet of the space in params.yaml and of "
            f"{dataset.num_classes} classes; it is of another space or of "
            f"{supernet.num_classes} classes. {remedy_for(path.parent)}"
        )
    supernet.dropout = training.dropout
    return supernet


def _sort_for_smaller_subnets(context: StageContext, supernet: Supernet) -> None:
    """Sort channels by importance where the phase adds smaller expand ratios or widths.

    What the phases so far have trained is read from the previous artifact: what was trained,
    not what params.yaml says now.
    """
    previous = context.params.previous_phase(context.item or "")
    if previous is None:
        return
    command = f"ofa-pipeline stage {NAME} --item {previous}"
    manifest = Manifest.read(context.layout.supernet(previous), made_by=command)
    before = manifest.params[f"phases.{previous}"]
    now = context.params.phases[context.item or ""]
    ratios, every_width = before["expand_ratios"], supernet.space.width_multipliers
    widths = before.get("width_multipliers") or every_width
    if set(now.expand_ratios) - set(ratios):
        sort_channels(
            supernet,
            trained_expand_ratios=ratios,
            trained_width_multipliers=widths or (1.0,),
        )
    if isinstance(supernet, ResNetSupernet) and set(now.width_multipliers or every_width) - set(
        widths
    ):
        sort_widths(supernet, trained_width_multipliers=widths)


def _accuracy_before(
    context: StageContext, supernet: Supernet, dataset: Dataset
) -> SubnetAccuracy | None:
    """Measure the largest subnet with the weights of the previous phase; None for the first."""
    if context.params.previous_phase(context.item or "") is None:
        return None
    return _accuracy_of_largest(supernet, dataset, context.params.training)


def _accuracy_of_largest(
    supernet: Supernet, dataset: Dataset, training: TrainingParams
) -> SubnetAccuracy:
    """Measure the largest subnet on all selection images: few would hide what a phase lost."""
    return _evaluator(supernet, dataset, training).evaluate(supernet.space.largest)


def _largest(
    context: StageContext, before: SubnetAccuracy | None, after: SubnetAccuracy
) -> LargestSubnet:
    """Return what the phase did to the largest subnet.

    The weights before are those of the previous artifact, so a phase that was killed and resumed
    gives the same figures.
    """
    previous = context.params.previous_phase(context.item or "")
    if previous is None or before is None:
        return first_largest(after)
    command = f"ofa-pipeline stage {NAME} --item {previous}"
    manifest = Manifest.read(context.layout.supernet(previous), made_by=command)
    return next_largest(before, after, previous=LargestSubnet.from_summary(manifest.summary))


def _evaluator(
    supernet: Supernet,
    dataset: Dataset,
    training: TrainingParams,
    *,
    num_images: int | None = None,
) -> SubnetEvaluator:
    """Return an evaluator on the first selection images, or on all of them."""
    return evaluator_of(
        supernet,
        dataset,
        calibration_images=training.calibration_images,
        batch_size=EVALUATION_BATCH_SIZE,
        evaluation_images=num_images,
    )


def _teacher(context: StageContext, supernet: Supernet, dataset: Dataset) -> Teacher | None:
    """Return the previous phase's largest subnet; None for the first, or where taught in place."""
    training, name = context.params.training, context.item or ""
    is_in_place = context.params.phases[name].teacher == "in_place"
    if is_in_place or context.params.previous_phase(name) is None:
        return None
    largest = extract_subnet(supernet, supernet.space.largest)
    is_uniform = context.params.phases[name].sampling == "uniform"
    return Teacher(
        CalibratedTeacher(largest, _evaluator(supernet, dataset, training)),
        None if is_uniform else largest.arch.resolution_px,
    )


def _so_far(context: StageContext, phase: Phase) -> dict[str, float]:
    """Return what fine-tuning goes by: epochs of all phases so far, and the rate of the first."""
    previous = context.params.previous_phase(phase.name)
    so_far = {"total_epochs": 0, "first_learning_rate": phase.schedule.learning_rate}
    if previous is not None:
        command = f"ofa-pipeline stage {NAME} --item {previous}"
        summary = Manifest.read(context.layout.supernet(previous), made_by=command).summary
        so_far = {key: summary[key] for key in so_far}
    return so_far | {"total_epochs": so_far["total_epochs"] + phase.schedule.total_epochs}


def _validation(evaluator: SubnetEvaluator, phase: Phase) -> Callable[[], Mapping[str, float]]:
    """Return what measures the largest subnet of all and the smallest of the phase."""
    assert isinstance(phase.archs, Sampled)
    archs = {
        "accuracy_top1_largest": evaluator.supernet.space.largest,
        "accuracy_top1_smallest": phase.archs.space.smallest,
    }
    return lambda: {name: evaluator.evaluate(arch).accuracy_top1 for name, arch in archs.items()}


def _history_columns(history: Sequence[EpochRecord]) -> dict[str, list[object]]:
    rows = [
        {
            "phase": record.phase,
            "epoch": record.epoch,
            "learning_rate": record.learning_rate,
            "loss": record.loss,
            **record.metrics,
        }
        for record in history
    ]
    return {name: [row[name] for row in rows] for name in HISTORY_SCHEMA.names}
