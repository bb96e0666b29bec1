"""Evaluation: batch-norm calibration, top-1 and top-5 of many subnets."""

from ofa_pipeline.evaluation.accuracy import Predictions, evaluate_network, predict
from ofa_pipeline.evaluation.calibration import calibrate_batch_norm
from ofa_pipeline.evaluation.design import initial_design
from ofa_pipeline.evaluation.evaluator import (
    CalibratedTeacher,
    SubnetAccuracy,
    SubnetEvaluator,
    calibration_indices,
)
from ofa_pipeline.evaluation.images import ResizedImages

__all__ = [
    "CalibratedTeacher",
    "Predictions",
    "ResizedImages",
    "SubnetAccuracy",
    "SubnetEvaluator",
    "calibrate_batch_norm",
    "calibration_indices",
    "evaluate_network",
    "initial_design",
    "predict",
]
