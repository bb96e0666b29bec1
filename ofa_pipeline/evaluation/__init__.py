"""Evaluation: batch-norm calibration, top-1 and top-5 of many subnets."""

from ofa_pipeline.evaluation.accuracy import Predictions, evaluate_network, predict
from ofa_pipeline.evaluation.bench import AccuracyBench, AccuracyTask, evaluator_of
from ofa_pipeline.evaluation.calibration import calibrate_batch_norm
from ofa_pipeline.evaluation.design import initial_design
from ofa_pipeline.evaluation.evaluator import (
    CalibratedTeacher,
    SubnetAccuracy,
    SubnetEvaluator,
    calibration_indices,
)
from ofa_pipeline.evaluation.images import ResizedImages
from ofa_pipeline.evaluation.noise import accuracy_columns, label_noise, plan_accuracy_tasks
from ofa_pipeline.evaluation.watching import (
    LargestSubnet,
    Shipped,
    first_largest,
    largest_after,
    next_largest,
    watch_chance,
    watch_phase,
    watch_shipped,
)

__all__ = [
    "AccuracyBench",
    "AccuracyTask",
    "CalibratedTeacher",
    "LargestSubnet",
    "Predictions",
    "ResizedImages",
    "Shipped",
    "SubnetAccuracy",
    "SubnetEvaluator",
    "accuracy_columns",
    "calibrate_batch_norm",
    "calibration_indices",
    "evaluate_network",
    "evaluator_of",
    "first_largest",
    "initial_design",
    "label_noise",
    "largest_after",
    "next_largest",
    "plan_accuracy_tasks",
    "predict",
    "watch_chance",
    "watch_phase",
    "watch_shipped",
]
