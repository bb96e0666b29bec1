"""A workspace with made-up artifacts of every stage, as the stages write them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import Layout, write_artifact, write_json
from ofa_pipeline.data.shards import ShardWriter
from ofa_pipeline.report import DeviceFolders, ReportFolders
from ofa_pipeline.run_warnings import RunWarning
from ofa_pipeline.spaces import mobilenet_v3_small_images
from ofa_pipeline.tables import (
    CROSS_VALIDATION_SCHEMA,
    EVALUATIONS_SCHEMA,
    FRONT_SCHEMA,
    HISTORY_SCHEMA,
    LATENCY_SCHEMA,
    PREDICTIONS_SCHEMA,
    arch_columns,
    write_table,
)
from tests.support import documents as samples
from tests.support.dataset_summary import sample_summary
from tests.support.images import encoded

PHASES = ("largest", "elastic")
DEVICES = ("cpu-onnxruntime", "cpu-pytorch")
CLASS_NAMES = ("cat", "dog")
TEST_LABELS = [0, 0, 1, 1]
NUM_TEST_IMAGES = len(TEST_LABELS)

SPACE: SearchSpace = mobilenet_v3_small_images(
    resolutions_px=(16, 20),
    depths=(1, 2),
    kernel_sizes=(3, 5),
    expand_ratios=(2, 3),
    stem_stride=1,
    stem_channels=8,
    group_channels=(8, 16),
    group_strides=(1, 2),
    head_channels=(16, 16),
)


def write_report_workspace(
    root: Path, *, warnings: Mapping[str, RunWarning] | None = None
) -> ReportFolders:
    """Write small artifacts of every stage but the report, and return where they lie.

    Args:
        root: Of the workspace.
        warnings: That phases keep, by phase.
    """
    layout = Layout(root)
    _write_dataset(layout)
    for phase in PHASES:
        _write_phase(layout, phase, warning=(warnings or {}).get(phase))
    _write(layout, layout.accuracy, "collect_accuracy", {})
    _write_predictor(layout)
    for device in DEVICES:
        _write_latency(layout, device)
        _write_search(layout, device)
        _write_subnets(layout, device)
        receipt = samples.receipts().receipts[0].model_copy(update={"model_name": f"ofa-{device}"})
        document = {layout.RECEIPTS: samples.receipts(receipt).to_dict()}
        _write(layout, layout.registry(device), "register", document, inputs=[layout.dataset])
    return ReportFolders(
        root=root,
        dataset=layout.dataset,
        phases={phase: layout.supernet(phase) for phase in PHASES},
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
            for device in DEVICES
        },
        seconds=layout.artifacts / "seconds",
    )


def archs() -> list[Arch]:
    """Return six different architectures, the first the smallest, the last the largest."""
    genes = SPACE.sample(np.random.default_rng(0), 4)
    return [SPACE.smallest, *SPACE.archs(genes), SPACE.largest]


def _write(
    layout: Layout,
    folder: Path,
    stage: str,
    documents: Mapping[str, Any],
    *,
    tables: Mapping[str, tuple[pa.Schema, Mapping[str, Any]]] | None = None,
    params: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    inputs: Sequence[Path] = (),
) -> None:
    with write_artifact(
        folder, stage=stage, item=None, params=params or {}, inputs=inputs
    ) as writer:
        for name, document in documents.items():
            write_json(writer.folder / name, document)
        for name, (schema, columns) in (tables or {}).items():
            write_table(writer.folder / name, schema, columns)
        if stage == "train_supernet":
            metadata = {"space": json.dumps(SPACE.to_dict())}
            weights = {"weight": np.zeros(1, dtype=np.float32)}
            save_file(
                weights,
                writer.folder / "supernet.safetensors",
                {"description": json.dumps(metadata)},
            )
        if stage == "prepare_dataset":
            _write_shards(writer.folder)
        writer.summary |= summary or {}


def _write_dataset(layout: Layout) -> None:
    splits = {"train": 10, "calibration": 2, "selection": 4, "test": NUM_TEST_IMAGES}
    _write(
        layout,
        layout.dataset,
        "prepare_dataset",
        {
            layout.CLASSES: samples.class_names(*CLASS_NAMES).to_dict(),
            layout.DATASET_SUMMARY: asdict(sample_summary()),
            layout.STATISTICS: samples.pixel_statistics().to_dict(),
        },
        params={"dataset": {"source": "image_folder:pets"}},
        summary={
            "num_images": splits,
            "image_size_px": 20,
            "num_unreadable": 1,
            "num_copies_left_out": 2,
        },
    )


def _write_shards(folder: Path) -> None:
    labels = {"train": [0, 1] * 5, "calibration": [0, 1], "selection": [0, 1], "test": TEST_LABELS}
    for split, found in labels.items():
        writer = ShardWriter(folder, split, shard_rows=100)
        for number, label in enumerate(found):
            pixels = np.full((20, 20, 3), [200, 20 * number, 100 * label], dtype=np.uint8)
            writer.add(encoded(pixels), path=f"{split}/{number}.png", label=label)
        writer.close()


def _write_phase(layout: Layout, phase: str, *, warning: RunWarning | None) -> None:
    params = {
        "depths": [1, 2],
        "kernel_sizes": [3],
        "expand_ratios": [2],
        "learning_rate": 0.1,
        "subnets_per_step": 2,
    }
    history = {
        "phase": [phase, phase],
        "epoch": [1, 2],
        "learning_rate": [0.1, 0.0],
        "loss": [0.7, 0.6],
        "accuracy_top1_largest": [0.7, 0.8],
        "accuracy_top1_smallest": [0.6, 0.7],
    }
    _write(
        layout,
        layout.supernet(phase),
        "train_supernet",
        {},
        tables={"history.parquet": (HISTORY_SCHEMA, history)},
        params={
            f"phases.{phase}": params,
            "training": {"batch_size": 128, "base_batch_size": 32},
        },
        summary={"warnings": [] if warning is None else [asdict(warning)]},
        inputs=[layout.dataset],
    )


def _write_predictor(layout: Layout) -> None:
    columns = {
        **_arch_columns(),
        "accuracy_top1": np.linspace(0.6, 0.7, 6),
        "accuracy_top1_estimated": np.linspace(0.61, 0.69, 6),
        "accuracy_std_estimated": [0.01] * 6,
        "fold": [0, 1, 0, 1, 0, 1],
    }
    _write(
        layout,
        layout.predictor,
        "fit_predictor",
        {layout.PREDICTOR_REPORT: samples.predictor_report().to_dict()},
        tables={"cross_validation.parquet": (CROSS_VALIDATION_SCHEMA, columns)},
        inputs=[layout.accuracy],
    )


def _write_latency(layout: Layout, device: str) -> None:
    columns = {
        **_arch_columns(),
        **_latencies(np.linspace(1.0, 2.0, 6)),
        "latency_ms_estimated": np.linspace(1.05, 1.9, 6),
        "role": ["reference", "fit", "fit", "holdout", "holdout", "repeat"],
        "load_ms": [12.0] * 6,
        "first_call_ms": [1.5] * 6,
        "peak_memory_mb": [None] * 6,
        "network_memory_mb": [None] * 6,
    }
    _write(
        layout,
        layout.latency(device),
        "profile_latency",
        {
            layout.DEVICE_PROFILE: samples.device_profile().to_dict(),
            layout.LATENCY_MODEL: samples.fitted_latency().to_dict(),
        },
        tables={"samples.parquet": (LATENCY_SCHEMA, columns)},
    )


def _write_search(layout: Layout, device: str) -> None:
    estimated = {
        "accuracy_top1_estimated": np.linspace(0.6, 0.7, 6),
        "accuracy_std_estimated": [0.01] * 6,
        "latency_ms_estimated": np.linspace(1.0, 2.0, 6),
    }
    evaluations = {
        **_arch_columns(),
        **estimated,
        **_latencies(np.linspace(1.0, 2.0, 6)),
        "accuracy_top1_selection": np.linspace(0.6, 0.7, 6),
        "round": [1] * 6,
        "role": ["exploit"] * 6,
    }
    first, *_, last = archs()
    picks = samples.picks((1.5, [first]), (2.5, [last]))
    _write(
        layout,
        layout.search(device),
        "search",
        {layout.PICKS: picks.to_dict()},
        tables={
            "front.parquet": (FRONT_SCHEMA, {**_arch_columns(), **estimated}),
            "evaluations.parquet": (EVALUATIONS_SCHEMA, evaluations),
        },
    )


def _write_subnets(layout: Layout, device: str) -> None:
    shipped = (archs()[-1], archs()[0])
    cards = [
        samples.card(arch.arch_id, device=device, accuracy=accuracy, p50_ms=p50_ms)
        for arch, accuracy, p50_ms in zip(shipped, (0.75, 0.5), (2.0, 1.0), strict=True)
    ]
    entries = [samples.bundle_entry(*pair) for pair in zip(shipped, cards, strict=True)]
    documents = {layout.BUNDLES: samples.bundle_index(device, *entries).to_dict()}
    documents |= {f"{card.arch_id}/{layout.CARD}": card.to_dict() for card in cards}
    labels = TEST_LABELS
    predictions = {
        "arch_id": [arch.arch_id for arch in shipped for _ in labels],
        "image": [*range(NUM_TEST_IMAGES)] * 2,
        "label": labels * 2,
        "predicted": [0, 1, 1, 1, 1, 0, 1, 1],
    }
    _write(
        layout,
        layout.subnets(device),
        "specialize",
        documents,
        tables={"predictions.parquet": (PREDICTIONS_SCHEMA, predictions)},
    )


def _arch_columns() -> dict[str, Any]:
    return arch_columns(archs(), macs=[1_000_000] * 6, num_params=[20_000] * 6)


def _latencies(p50_ms: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    return {
        "p50_ms": p50_ms,
        "p95_ms": p50_ms * 1.1,
        "ci_low_ms": p50_ms * 0.98,
        "ci_high_ms": p50_ms * 1.02,
        "num_runs": [60] * len(p50_ms),
    }
