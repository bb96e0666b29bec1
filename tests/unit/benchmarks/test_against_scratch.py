"""What the benchmark against training alone says of its rows, and how it trains alone."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.data import open_dataset
from ofa_pipeline.params import parse_params
from ofa_pipeline.report import CostFacts
from ofa_pipeline.report.cost import StageCost
from ofa_pipeline.stages import run_stage
from ofa_pipeline.stopwatch import Seconds
from tests.support.trained_workspace import context_of, prepared_workspace

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from against_scratch import summary  # noqa: E402 - benchmarks are no package
from alone_common import paired_standard_error, total_epochs, train_alone  # noqa: E402


def test_only_images_that_tell_two_subnets_apart_are_noise():
    first = np.array([True, True, False, False])
    assert paired_standard_error(first, first) == 0
    assert paired_standard_error(first, ~first) == pytest.approx(4**0.5 / 4)


def test_training_alone_takes_the_recipe_and_the_seed(tmp_path):
    values = prepared_workspace(tmp_path)
    params = parse_params(values, origin="a test")
    dataset = open_dataset(tmp_path / "artifacts" / "dataset")
    smallest = params.space.build().smallest
    for phase in params.phases:
        run_stage("train_supernet", context_of(tmp_path, values, phase))
    assert total_epochs(Layout(tmp_path), params) == 2

    def weights(seed, epochs=1):
        alone = train_alone(smallest, dataset=dataset, params=params, epochs=epochs, seed=seed)
        assert alone.cpu_s > 0
        return np.concatenate([p.detach().numpy().ravel() for p in alone.subnet.parameters()])

    first = weights(0)
    assert (first == weights(0)).all()
    assert (first != weights(1)).any()
    assert (first != weights(0, epochs=2)).any()


def row(**changes):
    values = {
        "arch_id": "a",
        "accuracy_top1_finetuned": 0.80,
        "accuracy_top1_alone": 0.82,
        "standard_error": 0.01,
        "cpu_s_finetune": 12.0,
        "cpu_s_alone": 30.0,
        "wall_s_finetune": 6.0,
        "wall_s_alone": 15.0,
        "on_cuda": False,
    }
    return {**values, **changes}


def cost(seconds):
    return CostFacts(
        epochs=2, once=(StageCost(stage="train_supernet", item="largest", seconds=seconds),)
    )


def test_break_even_divides_what_is_done_once_by_what_a_subnet_saves():
    other = row(arch_id="b", accuracy_top1_alone=0.83)
    line = summary([row(), other], cost(Seconds(cpu_s=90, wall_s=1)))
    assert line == {
        "cpu_s_supernet": 90,
        "cpu_s_finetune_mean": 12,
        "cpu_s_alone_mean": 30,
        "break_even_subnets": 5,
        "subnets": 2,
        "within_two_standard_errors": 1,
    }


def test_a_subnet_of_two_devices_is_counted_once_in_the_means():
    other = row(arch_id="b", cpu_s_finetune=18.0, cpu_s_alone=60.0)
    line = summary([row(), row(), other], cost(Seconds(cpu_s=90, wall_s=1)))
    assert (line["cpu_s_finetune_mean"], line["cpu_s_alone_mean"]) == (15, 45)
    assert line["subnets"] == 3


@pytest.mark.parametrize(
    ("seconds", "changes", "reason"),
    [
        (Seconds(cpu_s=90), {"cpu_s_finetune": 30.0}, "costs as much as training it alone"),
        (Seconds(cpu_s=90), {"cpu_s_finetune": None}, "are not known"),
        (None, {}, "are not known"),
    ],
)
def test_without_a_break_even_the_reason_is_said(seconds, changes, reason):
    line = summary([row(**changes)], cost(seconds))
    assert line["break_even_subnets"] is None
    assert reason in line["reason"]


def test_wall_seconds_are_compared_on_cuda():
    line = summary([row(on_cuda=True)], cost(Seconds(cpu_s=90, wall_s=27)))
    assert (line["wall_s_supernet"], line["break_even_subnets"]) == (27, 3)
