"""Documents of accuracies: their noise, and how far the predictor of them is to be trusted."""

from typing import Any

from pydantic import ConfigDict, Field

from ofa_pipeline.documents.base import Count, Document, Part, UnnumberedDocument
from ofa_pipeline.documents.space import Space


class AccuracyNoise(UnnumberedDocument):
    """Standard deviation of a measured accuracy, a fraction."""

    model_config = ConfigDict(title="the noise of accuracies")

    calibration_std: float
    """Pooled over the subnets with several draws: how much of a difference between two subnets may
    be the calibration images."""
    sampling_std: float
    """Binomial: how much all accuracies together may be off, since every subnet sees the same
    selection images."""
    num_repeated_subnets: Count
    num_draws: Count
    """Draws of calibration images for each of these subnets."""


class PredictionReport(Part):
    """What held-out subnets say about a predictor. Points are percentage points of top-1."""

    num_subnets: Count
    rmse_points: float
    mape_percent: float
    """Mean absolute error relative to the accuracy."""
    tau: float
    """Kendall's rank correlation over all held-out subnets."""
    tau_top_decile: float
    """Kendall's tau among the best tenth by measurement, where search looks."""
    coverage: float
    """Share of subnets within the central 90 % interval; 0.9 is right."""
    optimism_points: float
    """Mean of predicted minus measured in the tenth that the predictor likes best."""
    regret_points: dict[str, float]
    """By k: what the best of k verified subnets falls short of the best, mean over budgets."""
    regret_points_by_budget: dict[str, dict[str, float]]
    """By cost budget, then by k."""


class LearningPoint(Part):
    """Error of a predictor that learned from part of the subnets."""

    num_samples: Count
    rmse_points: float
    tau: float


class PredictorReport(PredictionReport, Document):
    """How far the accuracy predictor is to be trusted, by nested cross-validation."""

    model_config = ConfigDict(title="the report of a predictor")

    kind: str
    chosen_by: str
    label_noise_points: float
    candidates: dict[str, PredictionReport]
    """By kind."""
    learning_curve: tuple[LearningPoint, ...]


class StoredPredictor(UnnumberedDocument):
    """What an accuracy predictor is; its arrays lie beside."""

    model_config = ConfigDict(title="an accuracy predictor")

    kind: str
    space: Space
    arrays: tuple[str, ...]
    """Names, sorted."""
    settings: dict[str, Any] | None = Field(default=None, exclude_if=lambda v: v is None)
    """That it was built with; left out where they are the default ones."""
