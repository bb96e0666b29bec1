"""From the folders of a workspace's artifacts to the contents of a report."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.report.budgets import load_needless_budgets
from ofa_pipeline.report.contents import DeviceFacts, ReportContents
from ofa_pipeline.report.cost import CostFacts
from ofa_pipeline.report.loading import (
    load_dataset,
    load_first_phase_top1,
    load_lineage,
    load_phase,
    load_predictor,
    load_space,
)
from ofa_pipeline.report.loading_cost import load_alone, load_finetunings, load_stage_cost
from ofa_pipeline.report.loading_devices import (
    load_confusion,
    load_latency,
    load_location,
    load_model_name,
    load_recertification,
    load_search,
    load_subnets,
)
from ofa_pipeline.report.source import Source
from ofa_pipeline.run_warnings import read_warnings

ONCE = ("train_supernet", "collect_accuracy", "fit_predictor", "profile_latency", "search")
"""Stages that run once, however many subnets are taken out of the supernet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFolders:
    """Artifact folders of one device."""

    latency: Path
    search: Path
    subnets: Path
    registry: Path
    recertified: Path
    """What was measured of the subnets later; may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFolders:
    """Every artifact folder that a report is about."""

    root: Path
    """The workspace: files are named relative to it."""
    dataset: Path
    phases: Mapping[str, Path]
    """By name, in the order of training; at least one."""
    accuracy: Path
    predictor: Path
    devices: Mapping[str, DeviceFolders]
    """By name; at least one."""
    seconds: Path
    """Folder of what the stages took and of what training alone took; may be missing."""


def report_folders(
    layout: Layout, *, phases: Iterable[str], devices: Iterable[str]
) -> ReportFolders:
    """Return where the artifacts of a workspace lie.

    Args:
        layout: Layout of the workspace.
        phases: Names, in order.
        devices: Names.
    """
    return ReportFolders(
        root=layout.root,
        dataset=layout.dataset,
        phases={phase: layout.supernet(phase) for phase in phases},
        accuracy=layout.accuracy,
        predictor=layout.predictor,
        devices={
            device: DeviceFolders(
                latency=layout.latency(device),
                search=layout.search(device),
                subnets=layout.subnets(device),
                registry=layout.registry(device),
                recertified=layout.recertified(device),
            )
            for device in devices
        },
        seconds=layout.seconds,
    )


def load_contents(folders: ReportFolders, *, title: str) -> ReportContents:
    """Read everything that a report says.

    Args:
        folders: Where the artifacts lie.
        title: Title of the page.

    Raises:
        MissingArtifactError: If an artifact or one of its files is not there.
        ManifestMismatchError: If a file does not hold what its stage writes.
    """
    sources = _sources(folders)
    phases = [sources[f"train_supernet {name}"] for name in folders.phases]
    dataset = load_dataset(sources["prepare_dataset"])
    contents = ReportContents(
        title=title,
        space=load_space(phases[-1]),
        dataset=dataset,
        phases=tuple(
            load_phase(source, name=name)
            for source, name in zip(phases, folders.phases, strict=True)
        ),
        predictor=load_predictor(sources["fit_predictor"]),
        devices=tuple(
            _load_device(sources, name, recertified=found.recertified)
            for name, found in folders.devices.items()
        ),
        confusion=None,
        cost=load_cost(folders),
        artifacts=load_lineage(tuple(sources.values())),
        warnings=tuple(
            warning for source in sources.values() for warning in read_warnings(source.folder)
        ),
        first_phase_top1=load_first_phase_top1(phases[-1]),
    )
    best = contents.best
    confusion = load_confusion(
        sources[f"specialize {best.device}"], subnet=best, class_names=dataset.class_names
    )
    from ofa_pipeline.report.loading_gallery import load_gallery  # decoding needs torch

    gallery = load_gallery(
        sources["prepare_dataset"], sources[f"specialize {best.device}"], confusion=confusion
    )
    return replace(contents, confusion=confusion, gallery=gallery)


def load_cost(folders: ReportFolders) -> CostFacts:
    """Read what once-for-all took, and what was measured of training each subnet alone.

    Raises:
        MissingArtifactError: If an artifact or one of its files is not there.
        ManifestMismatchError: If a file does not hold what its stage writes.
    """
    sources = _sources(folders)
    phases = [load_phase(sources[f"train_supernet {name}"], name=name) for name in folders.phases]
    *_, final = folders.phases.values()
    shipped = [device.subnets for device in folders.devices.values()]
    finetunings = [
        item
        for name in folders.devices
        for item in load_finetunings(sources[f"specialize {name}"], device=name)
    ]
    measured = load_alone(folders.seconds, root=folders.root, of=[folders.dataset, final, *shipped])
    return CostFacts(
        epochs=sum(len(phase.epochs) for phase in phases),
        once=tuple(
            load_stage_cost(folders.seconds, source, stage=stage, item=item or None)
            for name, source in sources.items()
            for stage, _, item in [name.partition(" ")]
            if stage in ONCE
        ),
        finetunings=tuple(finetunings),
        measured=measured,
        specialized=tuple(
            load_stage_cost(
                folders.seconds, sources[f"specialize {name}"], stage="specialize", item=name
            )
            for name in folders.devices
        ),
    )


def _load_device(sources: Mapping[str, Source], name: str, *, recertified: Path) -> DeviceFacts:
    bundles = sources[f"specialize {name}"]
    subnets = load_subnets(bundles, device=name)
    return DeviceFacts(
        name=name,
        latency=load_latency(sources[f"profile_latency {name}"]),
        search=load_search(sources[f"search {name}"]),
        subnets=subnets,
        model_name=load_model_name(sources[f"register {name}"]),
        needless_budgets=load_needless_budgets(bundles, subnets),
        again=load_recertification(recertified, bundles, device=name),
        location=load_location(sources[f"profile_latency {name}"], device=name),
    )


def _sources(folders: ReportFolders) -> dict[str, Source]:
    """Return every artifact by the stage that makes it, and its item."""
    return {
        stage: Source(folder=folder, root=folders.root, made_by=_command(stage))
        for stage, folder in _stages(folders)
    }


def _stages(folders: ReportFolders) -> Iterator[tuple[str, Path]]:
    yield "prepare_dataset", folders.dataset
    for phase, folder in folders.phases.items():
        yield f"train_supernet {phase}", folder
    yield "collect_accuracy", folders.accuracy
    yield "fit_predictor", folders.predictor
    for device, found in folders.devices.items():
        yield f"profile_latency {device}", found.latency
        yield f"search {device}", found.search
        yield f"specialize {device}", found.subnets
        yield f"register {device}", found.registry


def _command(stage: str) -> str:
    name, _, item = stage.partition(" ")
    return f"ofa-pipeline stage {name}" + (f" --item {item}" if item else "")
