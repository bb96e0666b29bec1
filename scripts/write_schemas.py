"""Writes the JSON Schemas of all documents to docs/schemas/, one file a document.

A test holds them equal to the models: run this after a change of `ofa_pipeline.documents`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ofa_pipeline import documents
from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.dataset_summary import DatasetSummary
from ofa_pipeline.documents import answers, lineage

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
MODELS: Mapping[str, type[Any]] = {
    Layout.ACCURACY_NOISE: documents.AccuracyNoise,
    Layout.BUNDLES: documents.BundleIndex,
    Layout.CARD: documents.Card,
    Layout.CLASSES: documents.ClassNames,
    Layout.DATASET_SUMMARY: DatasetSummary,
    Layout.DEVICE_PROFILE: documents.DeviceProfile,
    Layout.LATENCY_MODEL: documents.FittedLatency,
    Layout.PICKS: documents.Picks,
    Layout.PREDICTOR: documents.StoredPredictor,
    Layout.PREDICTOR_REPORT: documents.PredictorReport,
    Layout.RECEIPTS: documents.Receipts,
    Layout.RECERTIFICATION: documents.Recertification,
    Layout.STATISTICS: documents.PixelStatistics,
    Layout.SUBNET: documents.SubnetDescription,
    Layout.MANIFEST: Manifest,
    Layout.AWAITED: documents.Awaited,
    Layout.SEEN_DEVICE: documents.SeenDevice,
    "measuring_task.json": documents.MeasuringTask,
    "measuring_result.json": documents.MeasuringResult,
    "waiting_run.json": documents.WaitingRun,
}
"""By the name of the file; manifest and summary are dataclasses, but have schemas all the same."""
ANSWERS: Mapping[str, type[Any]] = {
    "answer_best.json": answers.SubnetAnswer,
    "answer_certificate.json": documents.SubnetCertificate,
    "answer_compare.json": answers.ComparisonAnswer,
    "answer_explain.json": answers.ExplanationAnswer,
    "answer_front.json": answers.FrontAnswer,
    "answer_lineage.json": lineage.LineageAnswer,
    "answer_promote.json": answers.PromotionAnswer,
    "answer_pull.json": answers.PullAnswer,
    "answer_reproduce.json": lineage.ReproductionAnswer,
    "answer_subnet_list.json": answers.SubnetList,
    "answer_subnets.json": answers.SubnetPage,
}
"""By the name of the schema: what commands print."""


def schemas() -> dict[str, str]:
    """Return the schema of each document as text, by file name."""
    every = {**MODELS, **ANSWERS}
    found = {name: TypeAdapter(model).json_schema() for name, model in every.items()}
    found[Layout.MANIFEST]["properties"]["digest"] = {
        "description": "SHA-256 of the other values; missing in earlier versions.",
        "type": "string",
    }
    return {name: json.dumps(schema, indent=2) + "\n" for name, schema in found.items()}


def main() -> None:
    """Write them, and remove those of documents that are no more."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, text in schemas().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
