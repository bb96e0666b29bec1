"""What the runs of a registry show: read from the artifacts of a workspace, for people."""

import getpass
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.documents import ClassNames, read_document
from ofa_pipeline.errors import shorten
from ofa_pipeline.params import Params
from ofa_pipeline.registry.origin import (
    SUBNETS_TAG,
    VERSION_OF_PACKAGE_TAG,
    origin_files,
    origin_tags,
)
from ofa_pipeline.registry.protocol import DatasetNotes, Entry, RunNotes, WorkNotes
from ofa_pipeline.registry.server import quiet_mlflow
from ofa_pipeline.run_warnings import RunWarning, warnings_in
from ofa_pipeline.stopwatch import Seconds

TAG_LENGTH = 4900
"""Characters that every version of MLflow takes in a tag."""
PACKAGE = "ofa-pipeline"
_MADE_BY = "ofa-pipeline run"
_SUPERNET = "artifacts/supernet/"
_CURVES = ("loss", "learning_rate", "accuracy_top1_largest", "accuracy_top1_smallest")


def run_notes(
    layout: Layout,
    params: Params,
    device: str,
    entries: tuple[Entry, ...],
    *,
    warnings: Sequence[RunWarning],
) -> RunNotes:
    """Return what the run of a registration notes.

    Args:
        layout: Layout of the workspace.
        params: Name the dataset and its source.
        device: Whose subnets are registered.
        entries: What is registered; at least one.
        warnings: Warnings of their artifact.
    """
    manifest = Manifest.read(layout.subnets(device), made_by=_MADE_BY)
    records = [entry.record for entry in entries]
    dataset = dataset_notes(layout, params, digest=records[0].dataset_digest)
    return RunNotes(
        name=f"register {device}",
        description=f"Subnets for {device}, a run each, registered by `ofa-pipeline`.",
        params=flat_params(manifest.params),
        metrics={
            "num_subnets": float(len(records)),
            "accuracy_top1_best": max(record.accuracy_top1 for record in records),
            "latency_ms_fastest": min(record.latency_ms for record in records),
        },
        tags={
            "ofa.device": device,
            SUBNETS_TAG: manifest.digest,
            **warning_tags(warnings),
            **source_tags(layout.root, stage="register", item=device),
            **origin_tags(layout),
        },
        dataset=dataset,
        files=origin_files(layout),
        works=phase_notes(layout, records[0].lineage, dataset=dataset),
    )


def phase_notes(
    layout: Layout, lineage: Mapping[str, str], *, dataset: DatasetNotes | None
) -> tuple[WorkNotes, ...]:
    """Return what to show of the phases in a lineage, in the order of training.

    A phase whose artifact is not there, or is another one by now, is left out.
    """
    folders = [layout.root / path for path in lineage if path.startswith(_SUPERNET)]
    manifests = {
        folder: Manifest.read(folder, made_by=_MADE_BY)
        for folder in folders
        if (folder / Layout.MANIFEST).exists()
    }
    kept = {
        folder: manifest
        for folder, manifest in manifests.items()
        if manifest.digest == lineage[layout.relative(folder)]
    }
    notes: list[WorkNotes] = []
    next_began_s: float | None = None
    for folder in reversed(_in_order(kept)):
        # Copying sets the times of files: a phase ended no later than the next one began.
        ended_s = (folder / Layout.MANIFEST).stat().st_mtime
        ended_s = ended_s if next_began_s is None else min(ended_s, next_began_s)
        notes.insert(0, _phase(layout, folder, kept[folder], dataset=dataset, ended_s=ended_s))
        next_began_s = ended_s - notes[0].duration_s
    return tuple(notes)


def _in_order(manifests: Mapping[Path, Manifest]) -> list[Path]:
    """Return phases as they followed each other: each after what it starts from."""
    depth: dict[str, int] = {}

    def depth_of(manifest: Manifest) -> int:
        before = [item for item in manifests.values() if item.digest in manifest.inputs.values()]
        if manifest.digest not in depth:
            depth[manifest.digest] = 1 + max((depth_of(item) for item in before), default=0)
        return depth[manifest.digest]

    return sorted(manifests, key=lambda folder: depth_of(manifests[folder]))


def _phase(
    layout: Layout,
    folder: Path,
    manifest: Manifest,
    *,
    dataset: DatasetNotes | None,
    ended_s: float,
) -> WorkNotes:
    from ofa_pipeline.tables import HISTORY_SCHEMA, read_table  # needs pyarrow

    phase = manifest.item or folder.name
    history = read_table(folder / Layout.HISTORY, HISTORY_SCHEMA)
    seconds = _seconds(layout.seconds / manifest.stage / phase)
    images = f" on {dataset.name}" if dataset else ""
    is_same = dataset is not None and dataset.digest in manifest.inputs.values()
    return WorkNotes(
        kind=manifest.stage,
        name=f"{manifest.stage} {phase}",
        digest=manifest.digest,
        description=(
            f"The phase `{phase}` of the supernet's training{images}; the steps of its curves are "
            f"epochs. From `{layout.relative(folder)}`, with the digest "
            f"`{manifest.digest[:12]}`."
        ),
        params=flat_params(manifest.params),
        metrics={"cpu_s": seconds.cpu_s, "wall_s": seconds.wall_s} if seconds else {},
        curves={name: history[name].to_pylist() for name in _CURVES},
        tags={
            **warning_tags(warnings_in(manifest, folder)),
            **source_tags(layout.root, stage=manifest.stage, item=phase),
        },
        dataset=dataset if is_same else None,
        duration_s=seconds.wall_s if seconds else 0.0,
        ended_s=ended_s,
    )


def report_notes(layout: Layout) -> WorkNotes:
    """Return what to show of a report: its page, pictures, tables and key figures."""
    folder = layout.report
    manifest = Manifest.read(folder, made_by=_MADE_BY)
    files: dict[str, tuple[Path, ...]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        within = Path("report") / path.relative_to(folder).parent
        files[within.as_posix()] = (*files.get(within.as_posix(), ()), path)
    figures = {
        key: float(value)
        for key, value in manifest.summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return WorkNotes(
        kind=manifest.stage,
        name="report",
        digest=manifest.digest,
        description="The report of a whole run: *Artifacts*, `report/report.html`.",
        metrics=figures,
        tags=source_tags(layout.root, stage=manifest.stage, item=""),
        files={**params_file(layout), **files},
        ended_s=(folder / Layout.MANIFEST).stat().st_mtime,
    )


def dataset_notes(layout: Layout, params: Params, *, digest: str) -> DatasetNotes | None:
    """Return what to show of the prepared dataset; None where another one lies there by now."""
    folder = layout.dataset
    if not (folder / Layout.MANIFEST).exists():
        return None
    manifest = Manifest.read(folder, made_by=_MADE_BY)
    if manifest.digest != digest:
        return None
    classes = read_document(folder / Layout.CLASSES, ClassNames, remake=_MADE_BY)
    return DatasetNotes(
        name=params.dataset.label,
        digest=digest,
        source=params.dataset.source,
        image_size_px=int(manifest.summary["image_size_px"]),
        num_classes=len(classes.class_names),
        num_images=manifest.summary["num_images"],
    )


def source_tags(root: Path, *, stage: str, item: str) -> dict[str, str]:
    """Return where some work came from, in MLflow's own tags: who, what command, which commit.

    Args:
        root: Workspace; its commit is meant, where it lies in a git repository.
        stage: That did the work: the entry point.
        item: Its phase or device; empty for none.
    """
    quiet_mlflow()
    from mlflow.utils.git_utils import get_git_branch, get_git_commit, get_git_repo_url

    command = f"{PACKAGE} stage {stage}" + (f" --item {item}" if item else "")
    found = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": command,
        "mlflow.project.entryPoint": stage,
        "mlflow.source.git.commit": get_git_commit(str(root)),
        "mlflow.source.git.branch": get_git_branch(str(root)),
        "mlflow.source.git.repoURL": get_git_repo_url(str(root)),
        "mlflow.user": _user(),
        VERSION_OF_PACKAGE_TAG: metadata.version(PACKAGE),
    }
    return {key: value for key, value in found.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a uid without a name
        return ""


def warning_tags(warnings: Iterable[RunWarning]) -> dict[str, str]:
    """Return the warnings of an artifact as a tag, where there are any."""
    texts = "\n".join(warning.text for warning in warnings)
    return {"ofa.warnings": shorten(texts, TAG_LENGTH)} if texts else {}


def params_file(layout: Layout) -> dict[str, tuple[Path, ...]]:
    """Return params.yaml as a file of a run."""
    path = layout.root / "params.yaml"
    return {"": (path,)} if path.exists() else {}


def _seconds(folder: Path) -> Seconds | None:
    """Return the seconds of a timed stage, where they were kept."""
    if not (folder / Layout.MANIFEST).exists():
        return None
    return Seconds.from_dict(Manifest.read(folder, made_by=_MADE_BY).summary)


def flat_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return dotted names with short values, as MLflow keeps params."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flat_params(value, f"{name}.")
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value)
    return flat
