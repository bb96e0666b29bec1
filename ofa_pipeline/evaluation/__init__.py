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
from ofa_pipeline.evaluation.watching import (
    LargestSubnet,
    Shipped,
    first_largest,
    next_largest,
    watch_phase,
    watch_shipped,
)

__all__ = [
    "CalibratedTeacher",
    "LargestSubnet",
    "Predictions",
    "ResizedImages",
    "Shipped",
    "SubnetAccuracy",
    "SubnetEvaluator",
    "calibrate_batch_norm",
    "calibration_indices",
    "evaluate_network",
    "first_largest",
    "initial_design",
    "next_largest",
    "predict",
    "watch_phase",
    "watch_shipped",
]
