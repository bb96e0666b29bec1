"""The comparison with Model Optimizer: what is like, what is counted, and what is missing."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import against_modelopt
import recipes

from ofa_pipeline.cost import arch_cost
from ofa_pipeline.supernet.depthwise import DepthwiseConv2d


@pytest.fixture(scope="module")
def bench():
    return recipes.open_bench(None, "cpu")


def test_the_like_network_is_our_largest_of_plain_convolutions(bench):
    space = bench.space(recipes.TRIALS["shipped"])
    side = space.largest.resolution_px
    plain = against_modelopt.like_network(bench, 0)
    assert not any(isinstance(module, DepthwiseConv2d) for module in plain.modules())
    wanted = arch_cost(space, space.largest, num_classes=recipes.NUM_CLASSES).macs
    assert against_modelopt.macs_of(plain, side) == wanted
    images = torch.rand(2, 3, side, side)
    with torch.no_grad():
        expected = plain.eval()(images)
        fast = against_modelopt.with_fast_depthwise(plain)
        assert any(isinstance(module, DepthwiseConv2d) for module in fast.modules())
        assert torch.allclose(fast(images), expected, atol=1e-5)


def test_training_ends_with_its_seconds(bench):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    trained = against_modelopt.train(network, bench, side_px=8, seconds=0.2, rate=0.1)
    assert trained.steps > 1
    assert 0.2 <= trained.seconds < 2


def test_ours_may_fine_tune_for_as_long_as_the_quickest_of_the_others_takes_in_all(
    monkeypatch, capsys
):
    def found(budget, searched_s):
        return against_modelopt.Found(
            network=nn.Identity(),
            budget=budget,
            side_px=8,
            looks=1,
            trained=against_modelopt.Trained(45.0, 100),
            searched_s=searched_s,
        )

    def pick(found, bench, *, finetune_s):
        line = {"budget": found.budget, "finetune_s": finetune_s}
        return line, found.seconds + finetune_s

    monkeypatch.setattr(against_modelopt, "pick", pick)
    monkeypatch.setattr(against_modelopt, "_modelopt", lambda: (None, None))
    monkeypatch.setattr(against_modelopt, "autonas", lambda *_: iter([found(2e6, 300)]))
    monkeypatch.setattr(against_modelopt, "fastnas", lambda *_: iter([found(2e6, 40)]))
    monkeypatch.setattr(against_modelopt, "ours", lambda *_: iter([found(2e6, 20)]))
    monkeypatch.setattr(sys, "argv", ["against_modelopt.py", "--finetune", "10"])
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)
    against_modelopt.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["way"], line["finetune_s"]) for line in lines] == [
        ("autonas", 10),
        ("fastnas", 10),
        ("ours-in-all", 30),
        ("ours", 10),
    ]


def test_without_model_optimizer_its_environment_is_named(monkeypatch):
    monkeypatch.setattr(against_modelopt, "NEEDS", ("no_such_modelopt",) * 3)
    monkeypatch.setattr(sys, "argv", ["against_modelopt.py"])
    with pytest.raises(SystemExit, match=r"must be installed .*no_such_modelopt.*'\.\[peers\]'"):
        against_modelopt.main()


def test_budgets_that_are_none_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["against_modelopt.py", "--budgets", "0"])
    with pytest.raises(SystemExit):
        against_modelopt.main()
    assert "must be a number above 0" in capsys.readouterr().err
