"""How a plan is made: what DVC judges, times what work costs on this machine."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.planning.images import (
    ImagesAtHand,
    is_source_changed,
    prepared_images,
    surveyed_images,
)
from ofa_pipeline.planning.machine import this_machine
from ofa_pipeline.planning.measuring import Measured, measure_machine
from ofa_pipeline.planning.plan import (
    RESTORE_S,
    Basis,
    Plan,
    PlannedStage,
    State,
    recorded_seconds,
    states_of,
)
from ofa_pipeline.planning.rates import Rates, rates_of_thumb
from ofa_pipeline.planning.resources import disk_bytes, footprint_of, images_in_memory_bytes
from ofa_pipeline.planning.work import WorkOfRun
from ofa_pipeline.preflight import look
from ofa_pipeline.progress import SILENT, Reporter

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

_CURRENT_S = 0.3
"""Of a stage that DVC finds to be up to date."""
_PREPARE = "prepare_dataset"
_NOTHING: Basis = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What DVC says of the stages, as things are now."""

    changed: Collection[str]
    restorable: Collection[str] = ()
    """Those whose results it has kept."""


def make_plan(
    root: Path,
    params: "Params",
    judgement: Judgement,
    *,
    is_measured: bool = True,
    reporter: Reporter = SILENT,
) -> Plan:
    """Plan a run.

    Args:
        root: The workspace.
        params: Its params.
        judgement: What DVC says.
        is_measured: Whether to measure this machine, which takes a minute; else by rules of thumb.
        reporter: Told of what is measured.

    Raises:
        DatasetError: If the images have to be prepared and the source cannot be used.
        DeviceError: If this machine cannot serve a device.
    """
    layout, machine = Layout(root), this_machine(root)
    if is_source_changed(params, layout):
        judgement = replace(judgement, changed={*judgement.changed, _PREPARE})
    states = states_of(params, changed=judgement.changed, restorable=judgement.restorable)
    images = prepared_images(layout) if states[_PREPARE] != "runs" else None
    images = images or surveyed_images(params, root)
    work = WorkOfRun(params, images.sizes, num_classes=images.num_classes)
    recorded: Mapping[str, float] = {}
    if states[_PREPARE] != "runs":  # of other images, stages took another time
        recorded = recorded_seconds(layout, params, states)
    rates, measured = rates_of_thumb(machine, decode_s=images.decode_s), None
    open_ones = {a for a, state in states.items() if state == "runs" and a not in recorded}
    findings = tuple(look(params, root))
    wrong, doubts = (
        tuple(f"{found.what}: {found.found}" for found in findings if found.state == state)
        for state in ("wrong", "doubtful")
    )
    if is_measured and open_ones and not wrong:
        measured = _measure(work, rates, images, open_ones, reporter)
        rates = measured.rates
    basis: Basis = "measured" if measured else "rule of thumb"
    stages = _planned(states, work, rates, recorded=recorded, basis=basis)
    in_memory = images_in_memory_bytes(work, images)
    budgets = sum(work.num_budgets(device) for device in params.devices)
    return Plan(
        stages=stages,
        machine=machine,
        memory_bytes=measured.memory_bytes + in_memory if measured else None,
        gpu_memory_bytes=measured.gpu_memory_bytes if measured and machine.gpu else None,
        disk_bytes=round(disk_bytes(work, dataset=images.stored_bytes, num_budgets=budgets)),
        notes=(
            images.note,
            *doubts,
            *_image_notes(work, images),
            *_notes(stages, params, machine.cores),
        ),
        warnings=wrong,
    )


def _measure(
    work: WorkOfRun,
    thumb: Rates,
    images: ImagesAtHand,
    open_ones: Collection[str],
    reporter: Reporter,
) -> Measured:
    """Measure what the stages without a known time need."""
    items = {
        name: tuple(a.partition("@")[2] for a in sorted(open_ones) if a.startswith(name))
        for name in ("train_supernet", "profile_latency", "search", "specialize")
    }
    devices = sorted({*items["profile_latency"], *items["search"], *items["specialize"]})
    phases = items["train_supernet"] or (
        (work.params.final_phase,) if items["specialize"] else ()  # fine-tuning is like it
    )
    in_order = tuple(phase for phase in work.params.phases if phase in phases)
    return measure_machine(
        work,
        thumb,
        canvas_px=footprint_of(work, images, "train").proportions.canvas_px(images.image_size_px),
        phases=in_order,
        devices=tuple(devices),
        reporter=reporter,
    )


def _planned(
    states: Mapping[str, State],
    work: WorkOfRun,
    rates: Rates,
    *,
    recorded: Mapping[str, float],
    basis: Basis,
) -> tuple[PlannedStage, ...]:
    amounts, found = work.of_all(), []
    for address, state in states.items():
        seconds, why = _CURRENT_S, _NOTHING
        if state == "restored":
            seconds = RESTORE_S
        elif state == "runs" and address in recorded:
            seconds, why = rates.start_s + recorded[address], "recorded"
        elif state in ("runs", "checked"):
            seconds = rates.seconds(address, amounts[address])
            why = basis if amounts[address].is_measurable else "rule of thumb"
        found.append(PlannedStage(address=address, state=state, seconds=seconds, basis=why))
    return tuple(found)


def _image_notes(work: WorkOfRun, images: ImagesAtHand) -> list[str]:
    """Return what is to be known of how training reads the images."""
    train = footprint_of(work, images, "train")
    if train.is_kept:
        return []
    why = "are more than fit 1 GiB decoded"
    if not train.proportions.are_squares:
        why = "keep their proportions (training.augmentation: random_resized_crop)"
    return [
        f"the images to train on {why}: each epoch decodes them anew, which is not counted here "
        "and goes on beside the training where cores are free"
    ]


def _notes(stages: tuple[PlannedStage, ...], params: "Params", cores: int) -> list[str]:
    notes, running = [], {stage.address for stage in stages if stage.state == "runs"}
    source = params.training.weights_source
    if source and any(address.startswith("import_weights") for address in running):
        from ofa_pipeline.initial_weights import is_at_hand

        if not is_at_hand(source):
            notes.append(
                f"the run downloads the weights of {source}; without internet it would stop there. "
                f"`ofa-pipeline zoo get {source.name}` gets them before, with --from FOLDER from "
                "a copy"
            )
    if running:
        notes.append(
            "stages after one that runs are planned to run; those that read the same in the end "
            "are skipped, or restored by DVC, in seconds"
        )
    load = os.getloadavg()[0]
    if load > 1.5 * cores:  # more than this plan itself
        notes.append(
            f"this machine is busy ({load:.1f} processes want its {cores} cores): alone the run is "
            "faster"
        )
    return notes


def expected_seconds(root: Path, params: "Params") -> dict[str, float]:
    """Return what each stage takes if it runs: recorded by an earlier run, or by rules of thumb.

    Raises:
        DatasetError: If the images are not prepared and the source cannot be used.
    """
    layout = Layout(root)
    images = prepared_images(layout) or surveyed_images(params, root)
    work = WorkOfRun(params, images.sizes, num_classes=images.num_classes)
    rates = rates_of_thumb(this_machine(root), decode_s=images.decode_s)
    by_thumb = {address: rates.seconds(address, of) for address, of in work.of_all().items()}
    recorded = recorded_seconds(layout, params, by_thumb)
    return by_thumb | {address: rates.start_s + s for address, s in recorded.items()}
