"""The labels that predictors learn from: the artifact of the stage collect_accuracy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ofa_pipeline.arch import FloatArray, SearchSpace
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import AccuracyNoise, LearningPoint, PredictorReport, read_document
from ofa_pipeline.predictor.validation import (
    LabeledSubnets,
    Validation,
    labeled_subnets,
)
from ofa_pipeline.predictor.watching import LabelNoise
from ofa_pipeline.tables import ACCURACY_SCHEMA, arch_columns, archs_of, read_table

COMPARED_DRAW = 0
"""The draw of calibration images that subnets are compared with."""
_COLLECT = "ofa-pipeline stage collect_accuracy"


def load_label_noise(folder: Path) -> LabelNoise:
    """Read the noise of a label from the accuracy artifact.

    Raises:
        MissingArtifactError: If it is not there.
        ManifestMismatchError: If it is not as the stage writes it.
    """
    noise = read_document(folder / Layout.ACCURACY_NOISE, AccuracyNoise, remake=_COLLECT)
    return LabelNoise(
        std=noise.calibration_std, degrees=noise.num_repeated_subnets * (noise.num_draws - 1)
    )


def load_compared_subnets(folder: Path, space: SearchSpace) -> tuple[LabeledSubnets, pa.Table]:
    """Return the measured subnets of the draw that subnets are compared with, and their rows.

    Raises:
        MissingArtifactError: If the accuracy table is not there.
    """
    table = read_table(folder / Layout.ACCURACIES, ACCURACY_SCHEMA)
    draws = np.array(table["calibration_draw"].to_pylist())
    compared = table.filter(pa.array(draws == COMPARED_DRAW))
    subnets = labeled_subnets(
        space,
        space.genes(archs_of(compared)),
        _column(compared, "accuracy_top1"),
        cost=_column(compared, "macs"),
    )
    return subnets, compared


def validation_columns(
    space: SearchSpace, validation: Validation, compared: pa.Table
) -> dict[str, Any]:
    """Return the columns of `ofa_pipeline.tables.CROSS_VALIDATION_SCHEMA`.

    Args:
        space: The space of the subnets.
        validation: Validation of the predictor that was chosen.
        compared: The rows that it was validated on, see `load_compared_subnets`.
    """
    archs = space.archs(validation.genes)
    columns = (compared[name].to_pylist() for name in ("arch_id", "macs", "num_params"))
    costs = {arch_id: counts for arch_id, *counts in zip(*columns, strict=True)}
    counts = [costs[arch.arch_id] for arch in archs]
    return {
        **arch_columns(
            archs, macs=[macs for macs, _ in counts], num_params=[params for _, params in counts]
        ),
        "accuracy_top1": validation.measured,
        "accuracy_top1_estimated": validation.mean,
        "accuracy_std_estimated": validation.std,
        "fold": validation.fold,
    }


def predictor_report(
    validations: Sequence[Validation],
    chosen: Validation,
    curve: Sequence[LearningPoint],
    *,
    label_noise: float,
) -> PredictorReport:
    """Return how far to trust the predictor that was chosen, beside the other kinds.

    Args:
        validations: Validations of every kind.
        chosen: One of them.
        curve: Errors of the chosen kind by the number of subnets that it learned from.
        label_noise: Standard deviation of a label, a fraction.
    """
    return PredictorReport(
        kind=chosen.kind,
        chosen_by="regret after verifying 5 a budget; within the label noise, by RMSE",
        label_noise_points=100 * label_noise,
        **chosen.report.to_dict(),
        candidates={validation.kind: validation.report for validation in validations},
        learning_curve=tuple(curve),
    )


def _column(table: pa.Table, name: str) -> FloatArray:
    return np.array(table[name].to_pylist(), dtype=np.float64)
