"""`front`, `compare`, `explain` and the bounds of `best`: tables for people, JSON for programs."""

import json
import sys

import pytest

from ofa_pipeline.cli import main
from ofa_pipeline.documents.answers import (
    ComparisonAnswer,
    ExplanationAnswer,
    FrontAnswer,
    SubnetAnswer,
)
from tests.support.registry import InMemoryRegistry, subnet_record, write_bundle


@pytest.fixture
def cli(monkeypatch, tmp_path, capsys):
    """Run a command against a registry of three subnets; returns exit code, stdout and stderr."""
    registry = InMemoryRegistry()
    bundle = write_bundle(tmp_path / "bundle")
    for accuracy, latency_ms in [(0.6, 1.0), (0.8, 2.0), (0.9, 4.0)]:
        registry.register(subnet_record(accuracy=accuracy, latency_ms=latency_ms), bundle)
    monkeypatch.setattr("ofa_pipeline.registry.open_registry", lambda *_, **__: registry)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ofa-pipeline", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err

    return run


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (("best", "-d", "cpu", "-t", "3"), SubnetAnswer),
        (("front", "-d", "cpu"), FrontAnswer),
        (("explain", "-d", "cpu", "-t", "3"), ExplanationAnswer),
        (("compare", "models:/ofa-tiny-cpu/1", "models:/ofa-tiny-cpu/2"), ComparisonAnswer),
    ],
)
def test_json_is_as_its_schema_says(cli, words, model):
    code, out, _ = cli(*words, "--json")
    answer = json.loads(out)
    assert code == 0
    assert model.from_dict(answer).to_dict() == answer


def test_explain_says_the_runner_up_and_the_price(cli):
    out = cli("explain", "-d", "cpu", "-t", "3")[1]
    assert "runner-up:" in out
    assert "20.00 points less" in out
    assert "10.00 points more for 2 ms more, 5 points a ms" in out
    assert "nothing registered is more accurate" in cli("explain", "-d", "cpu", "-t", "9")[1]


def test_front_shows_the_quantile_that_was_asked_for(cli):
    out = cli("front", "-d", "cpu", "--quantile", "p95")[1]
    assert "p95 ms" in out
    assert "4.8" in out


def test_compare_shows_the_difference(cli):
    out = cli("compare", "models:/ofa-tiny-cpu/2", "models:/ofa-tiny-cpu/3")[1]
    assert "+10.00" in out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("best", "-d", "cpu", "-t", "2", "--verdict", "within", "--quantile", "p95"), 0),
        (("best", "-d", "cpu", "-t", "1", "--verdict", "within"), 4),
        (("best", "-d", "cpu", "-t", "9", "--max-size-mb", "0.0001"), 4),
        (("best", "-d", "cpu", "-t", "0"), 1),
        (("best", "-d", "cpu", "-t", "1", "--quantile", "p99"), 2),
        (("front", "-d", "tpu"), 1),
        (("compare", "models:/ofa-tiny-cpu/1"), 1),
    ],
)
def test_bounds_end_as_the_help_promises(cli, words, code):
    assert cli(*words)[0] == code
