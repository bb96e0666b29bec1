"""Stage ``specialize``: from the picks of a device to the bundles that ship."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ofa_pipeline.artifacts import Layout, Manifest, digest_input, write_json
from ofa_pipeline.data import Dataset, open_dataset
from ofa_pipeline.devices import require_calibration_images
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.documents import Picks, read_document
from ofa_pipeline.evaluation import (
    LargestSubnet,
    ResizedImages,
    Shipped,
    evaluator_of,
    watch_shipped,
)
from ofa_pipeline.latency import load_latency_profile
from ofa_pipeline.progress import SILENT
from ofa_pipeline.run_warnings import RunWarning
from ofa_pipeline.specialize import trace_lineage, trace_phases
from ofa_pipeline.specialize.build import SubnetBuilder
from ofa_pipeline.specialize.choice import candidates_of, choose
from ofa_pipeline.specialize.fine_tuning import PickTuner, TunedPick, TuningTask
from ofa_pipeline.specialize.others import OtherDevices
from ofa_pipeline.specialize.tuning import Tuner, tuning_plan
from ofa_pipeline.specialize.workshop import Workshop, quantization_messages
from ofa_pipeline.stages.ranks import stage_arguments, stage_of_rank
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.supernet import check_supernet, load_supernet
from ofa_pipeline.tables import PREDICTIONS_SCHEMA, write_table
from ofa_pipeline.training import recipe_of


def run(stage: StageRun) -> None:
    """Build, certify and bundle the picks of one device."""
    layout = stage.layout
    remake = f"ofa-pipeline stage search --item {stage.item}"
    picks = read_document(layout.search(stage.item) / Layout.PICKS, Picks, remake=remake)
    dataset = open_dataset(layout.dataset)
    trained = _trained(stage)
    workshop = _workshop(stage, dataset, trained)
    candidates = candidates_of(picks)
    first = list(dict.fromkeys(of_budget.archs[0] for of_budget in candidates))
    workshop.build_all(first)  # before one is measured: then nothing else computes
    workshop.expect(first)
    choices = choose(candidates, meets=workshop.meets, describe=workshop.describe)
    with stage.writing() as writer:
        index = workshop.write(choices, writer.folder)
        write_json(writer.folder / Layout.BUNDLES, index.to_dict())
        columns = workshop.prediction_columns(choices)
        write_table(writer.folder / Layout.PREDICTIONS, PREDICTIONS_SCHEMA, columns)
        accuracies = {item.arch_id: item.accuracy for item in index.bundles}
        writer.summary |= {
            "num_bundles": len(accuracies),
            "accuracy_top1_best": max(found.accuracy_top1 for found in accuracies.values()),
            "num_finetuned": sum(found.is_finetuned for found in accuracies.values()),
        }
        selection = {name: found.accuracy_top1_selection for name, found in accuracies.items()}
        for message in quantization_messages(stage.item, index.bundles):
            stage.reporter.message(message)
        stage.warn(_warnings(stage, selection, dataset, trained), writer)


def _trained(stage: StageRun) -> Mapping[str, Any]:
    """Return the summary of the supernet's manifest."""
    final = stage.params.final_phase
    remake = f"ofa-pipeline stage train_supernet --item {final}"
    return Manifest.read(stage.layout.supernet(final), made_by=remake).summary


def _workshop(stage: StageRun, dataset: Dataset, trained: Mapping[str, Any]) -> Workshop:
    layout, params, card = stage.layout, stage.params, stage.params.devices[stage.item].card
    space = params.space.build()
    tuner = _tuner(stage, dataset, trained)
    device = load_latency_profile(layout.latency(stage.item)).open_device(
        card,
        space,
        warmup_runs=params.latency.warmup_runs,
        timed_runs=params.latency.timed_runs,
        store=ElsewhereStore(layout, stage.item, cluster=stage.cluster),
        reporter=stage.reporter,
    )
    if card.precision == "int8":
        require_calibration_images(tuner.evaluator.num_calibration_images)
    builder = SubnetBuilder(
        tuner,
        ResizedImages(
            split=dataset.split("test"),
            normalization=dataset.normalization,
            batch_size=params.evaluation.batch_size,
        ),
        tune=_pick_tuner(stage, tuner),
        device=device,
        scratch=stage.scratch,
        reporter=stage.reporter,
    )
    return Workshop(
        name=stage.item,
        settings=card,
        device=device,
        space=space,
        dataset=dataset,
        builder=builder,
        threads=params.training.threads,
        is_deterministic=params.training.deterministic,
        calibration_images=params.evaluation.calibration_images,
        lineage=trace_lineage(layout.root, stage.input_names),
        stopwatch=stage.stopwatch,
        executor=stage.executor,
        tuning=partial(_tuning, stage_arguments(stage)),
        others=_others(stage, tuner),
        reporter=stage.reporter,
    )


def _others(stage: StageRun, tuner: Tuner) -> OtherDevices:
    given = stage.inputs
    made_from = Manifest(
        stage=stage.stage.name,
        item=stage.item,
        params=given["params"],
        inputs={stage.layout.relative(path): digest_input(path) for path in given["inputs"]},
    )
    return OtherDevices.of(
        stage.layout, stage.item, made_from=made_from, tuner=tuner, reporter=stage.reporter
    )


def _tuning(arguments: Mapping[str, Any]) -> Callable[[TuningTask], TunedPick]:
    """Return what makes the weights of picks, in a process that only sees the workspace."""
    stage = stage_of_rank(arguments, SILENT)
    trained = _trained(stage)
    return _pick_tuner(stage, _tuner(stage, open_dataset(stage.layout.dataset), trained))


def _pick_tuner(stage: StageRun, tuner: Tuner) -> PickTuner:
    return PickTuner(
        tuner,
        scratch=stage.scratch,
        checkpoint_minutes=stage.context.params.checkpoint_minutes,
        reporter=stage.reporter,
    )


def _tuner(stage: StageRun, dataset: Dataset, trained: Mapping[str, Any]) -> Tuner:
    """Return what makes weights out of the supernet, after a look at it."""
    params, weights = stage.params, stage.layout.supernet_weights(stage.params.final_phase)
    supernet = load_supernet(weights)
    check_supernet(
        supernet,
        params.space.build(),
        num_classes=dataset.num_classes,
        path=weights,
        remake="ofa-pipeline run",
    )
    evaluator = evaluator_of(
        supernet,
        dataset,
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
    )
    plan = tuning_plan(
        params.specialize,
        recipe_of(params.training),
        dataset=dataset,
        trained=trained,
    )
    return Tuner(evaluator, plan=plan)


def _warnings(
    stage: StageRun,
    accuracy_top1: Mapping[str, float],
    dataset: Dataset,
    trained: Mapping[str, Any],
) -> tuple[RunWarning, ...]:
    shipped = Shipped(
        device=stage.item,
        accuracy_top1=accuracy_top1,
        labels=dataset.split("selection").labels.tolist(),
    )
    phases = trace_phases(stage.layout, stage.params.final_phase)
    return watch_shipped(shipped, largest=LargestSubnet.from_summary(trained), phases=phases)
