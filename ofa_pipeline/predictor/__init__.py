"""Accuracy predictors, and an honest report of how far to trust them."""

from ofa_pipeline.documents import LearningPoint, PredictionReport
from ofa_pipeline.predictor.features import feature_groups, one_hot_features
from ofa_pipeline.predictor.kinds import (
    build_predictor,
    check_tunable,
    predictor_kinds,
    tunable_settings,
)
from ofa_pipeline.predictor.kinds.gaussian_process import GaussianProcess
from ofa_pipeline.predictor.kinds.gradient_boosting import BoostingSettings, GradientBoosting
from ofa_pipeline.predictor.kinds.kernel_ridge import KernelRidge
from ofa_pipeline.predictor.kinds.mlp_ensemble import MlpEnsemble, MlpSettings
from ofa_pipeline.predictor.kinds.ridge import Ridge
from ofa_pipeline.predictor.labels import (
    load_compared_subnets,
    load_label_noise,
    predictor_report,
    validation_columns,
)
from ofa_pipeline.predictor.metrics import (
    kendall_tau,
    pooled_noise,
    report_predictions,
)
from ofa_pipeline.predictor.perceptron import Activations, Layer, Perceptron
from ofa_pipeline.predictor.protocol import (
    AccuracyPredictor,
    DifferentiablePredictor,
    Range,
    Settings,
    StorablePredictor,
    Trace,
    check_same_space,
    distinct_samples,
)
from ofa_pipeline.predictor.storage import (
    load_predictor,
    save_predictor,
)
from ofa_pipeline.predictor.validation import (
    LabeledSubnets,
    Validation,
    choose_predictor,
    cross_validate,
    labeled_subnets,
    learning_curve,
    validate_kinds,
)
from ofa_pipeline.predictor.watching import LabelNoise, Ranking, watch_ranking

__all__ = [
    "AccuracyPredictor",
    "Activations",
    "BoostingSettings",
    "DifferentiablePredictor",
    "GaussianProcess",
    "GradientBoosting",
    "KernelRidge",
    "LabelNoise",
    "LabeledSubnets",
    "Layer",
    "LearningPoint",
    "MlpEnsemble",
    "MlpSettings",
    "Perceptron",
    "PredictionReport",
    "Range",
    "Ranking",
    "Ridge",
    "Settings",
    "StorablePredictor",
    "Trace",
    "Validation",
    "build_predictor",
    "check_same_space",
    "check_tunable",
    "choose_predictor",
    "cross_validate",
    "distinct_samples",
    "feature_groups",
    "kendall_tau",
    "labeled_subnets",
    "learning_curve",
    "load_compared_subnets",
    "load_label_noise",
    "load_predictor",
    "one_hot_features",
    "pooled_noise",
    "predictor_kinds",
    "predictor_report",
    "report_predictions",
    "save_predictor",
    "tunable_settings",
    "validate_kinds",
    "validation_columns",
    "watch_ranking",
]
