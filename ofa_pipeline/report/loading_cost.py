"""Reads what stages and fine-tunings took, and what was measured of training alone.

All of it may be missing: an earlier version noted no seconds, and training alone is measured only
when somebody asks. What was noted of other artifacts than those that lie there now is not read.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import BundleEntry, BundleIndex, read_document
from ofa_pipeline.report.cost import AloneFacts, FinetuningCost, StageCost
from ofa_pipeline.report.source import Source, fresh_manifest
from ofa_pipeline.stopwatch import FINISHED_KEY, Seconds

ALONE_FOLDER = "against_scratch"
ALONE_FILE = "against_scratch.jsonl"


def load_stage_cost(seconds: Path, source: Source, *, stage: str, item: str | None) -> StageCost:
    """Read the seconds of the run that made an artifact.

    Args:
        seconds: The folder of all seconds.
        source: The artifact.
        stage: The stage that made it.
        item: Its phase or device.
    """
    folder = seconds / stage / item if item else seconds / stage
    manifest = fresh_manifest(folder, root=source.root, of=[source.folder])
    if manifest is None:
        return StageCost(stage=stage, item=item, seconds=None)
    with source.explained(source.name()):
        return StageCost(
            stage=stage,
            item=item,
            seconds=Seconds.from_dict(manifest.summary),
            finished=manifest.summary.get(FINISHED_KEY),
        )


def load_finetunings(source: Source, *, device: str) -> tuple[FinetuningCost, ...]:
    """Read the seconds of the fine-tunings of a device from the index of its bundles."""
    index = read_document(source.path(Layout.BUNDLES), BundleIndex, remake=source.made_by)
    return tuple(_finetuning(entry, device=device) for entry in index.bundles)


def _finetuning(entry: BundleEntry, *, device: str) -> FinetuningCost:
    noted = entry.finetuning
    return FinetuningCost(
        device=device,
        arch_id=entry.name,
        seconds=Seconds.from_dict(noted.to_dict()) if noted else None,
        epochs=noted.epochs if noted else 0,
        macs=entry.cost.macs,
        teacher_macs=noted.teacher_macs if noted else 0,
    )


def load_alone(seconds: Path, *, root: Path, of: Iterable[Path]) -> tuple[AloneFacts, ...]:
    """Read what was measured of training alone, of these artifacts.

    Args:
        seconds: The folder of all seconds.
        root: The workspace.
        of: The artifacts that it has to be of; else nothing is returned.
    """
    folder = seconds / ALONE_FOLDER
    if fresh_manifest(folder, root=root, of=of) is None:
        return ()
    source = Source(folder=folder, root=root, made_by="benchmarks/against_scratch.py --write")
    with source.explained(ALONE_FILE):
        rows = [json.loads(line) for line in source.path(ALONE_FILE).read_text().splitlines()]
        return tuple(_alone(row) for row in rows if "arch_id" in row)


def _alone(row: Mapping[str, Any]) -> AloneFacts:
    return AloneFacts(
        device=row["device"],
        arch_id=row["arch_id"],
        accuracy_top1_extracted=row["accuracy_top1_extracted"],
        accuracy_top1_finetuned=row["accuracy_top1_finetuned"],
        accuracy_top1=row["accuracy_top1_alone"],
        standard_error=row["standard_error"],
        seconds=Seconds(
            cpu_s=row["cpu_s_alone"], wall_s=row["wall_s_alone"], on_cuda=row["on_cuda"]
        ),
    )
