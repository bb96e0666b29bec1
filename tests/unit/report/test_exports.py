import csv
import io
import json
from dataclasses import replace

import pytest

from ofa_pipeline.report.exports import metrics, plot_tables
from ofa_pipeline.run_warnings import RunWarning
from tests.support.report import sample_contents


@pytest.fixture(scope="module")
def contents():
    return sample_contents()


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_metrics_are_json_and_name_the_subnet_of_every_budget(contents):
    values = json.loads(json.dumps(metrics(contents)))
    for device in contents.devices:
        found = values["devices"][device.name]["budgets"]
        assert list(found) == ["budget_1", "budget_2", "budget_3"]
        for entry, subnet in zip(found.values(), device.subnets, strict=True):
            assert entry["arch_id"] == subnet.arch.arch_id
            assert entry["accuracy_top1_test"] == pytest.approx(subnet.accuracy_top1)
            assert entry["p50_ms"] == pytest.approx(subnet.p50_ms, rel=1e-5)


def test_metrics_count_the_warnings(contents):
    warned = replace(contents, warnings=(RunWarning(stage="search", message="Odd."),))
    assert metrics(contents)["num_warnings"] == 0
    assert metrics(warned)["num_warnings"] == 1


def test_equal_contents_give_equal_bytes():
    assert plot_tables(sample_contents()) == plot_tables(sample_contents())
    assert json.dumps(metrics(sample_contents())) == json.dumps(metrics(sample_contents()))


def test_training_history_counts_epochs_over_all_phases(contents):
    table = rows(plot_tables(contents)["training_history.csv"])
    assert [int(row["epoch"]) for row in table] == list(range(1, 18))
    assert table[-1]["phase"] == "expand_2"


def test_front_says_what_is_measured_and_what_is_estimated(contents):
    table = rows(plot_tables(contents)["pareto_front.csv"])
    kinds = {(row["role"], row["kind"]) for row in table}
    assert kinds == {("front", "estimated"), ("verified", "measured"), ("pick", "measured")}
    assert {row["device"] for row in table} == {"cpu-onnxruntime", "cpu-pytorch"}


@pytest.mark.parametrize(("name", "count"), [("predictor.csv", 100), ("latency_model.csv", 80)])
def test_scatter_tables_have_a_row_a_subnet(contents, name, count):
    assert len(rows(plot_tables(contents)[name])) == count
