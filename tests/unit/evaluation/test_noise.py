import numpy as np
import pytest

from ofa_pipeline.evaluation import AccuracyTask, label_noise, plan_accuracy_tasks
from tests.support.training import tiny_space


def test_repeats_are_spread_over_the_design():
    archs = [tiny_space().arch(depths=[a, b]) for a in (1, 2) for b in (1, 2)]
    tasks = plan_accuracy_tasks(archs, num_repeats=3)
    assert [task.arch for task in tasks[:4]] == archs
    assert {task.calibration_draw for task in tasks[:4]} == {0}
    assert len(tasks) == 4 + 2 * 4
    assert len({task.key for task in tasks}) == len(tasks)


def test_noise_is_pooled_over_the_repeated_subnets():
    archs = [tiny_space().smallest, tiny_space().largest]
    tasks = [AccuracyTask(arch=arch, calibration_draw=draw) for draw in (0, 1) for arch in archs]
    accuracies = [0.5, 0.80, 0.5, 0.82]
    rows = [{"accuracy_top1": value, "num_images": 100} for value in accuracies]
    noise = label_noise(tasks, rows)
    assert noise.calibration_std == pytest.approx(np.sqrt(2 * 0.01**2 / 2))
    assert noise.sampling_std == pytest.approx(np.sqrt(0.655 * 0.345 / 100))
    assert noise.num_draws == 2
