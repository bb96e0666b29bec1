import csv
import io
import json
from dataclasses import replace

import pytest

from ofa_pipeline.report.exports import details, metrics, plot_tables
from ofa_pipeline.run_warnings import RunWarning
from tests.support.report import sample_contents


@pytest.fixture(scope="module")
def contents():
    return sample_contents()


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_details_are_json_and_name_the_subnet_of_every_budget(contents):
    values = json.loads(json.dumps(details(contents)))
    for device in contents.devices:
        found = values["devices"][device.name]["budgets"]
        assert list(found) == ["budget_1", "budget_2", "budget_3"]
        for entry, subnet in zip(found.values(), device.subnets, strict=True):
            assert entry["arch_id"] == subnet.arch.arch_id
            assert entry["accuracy_top1_test"] == pytest.approx(subnet.accuracy_top1)
            assert entry["p50_ms"] == pytest.approx(subnet.p50_ms, rel=1e-5)


def test_details_say_the_verdict_of_the_page(contents):
    assert details(contents)["verdict"] == "Ready to deploy, with care."


def test_metrics_count_the_warnings(contents):
    warned = replace(contents, warnings=(RunWarning(stage="search", message="Odd."),))
    assert metrics(contents)["num_warnings"] == 0
    assert metrics(warned)["num_warnings"] == 1


def test_metrics_count_the_budgets_that_are_missed(contents):
    device = contents.devices[0]
    over = replace(device.subnets[0], verdict="over")
    quick = replace(device.subnets[1], p95_ms=device.subnets[1].p50_ms)
    changed = replace(device, subnets=(over, quick, device.subnets[2]))
    found = metrics(replace(contents, devices=(changed,)))
    assert (found["over_p50"], found["over_p95"]) == (1, 2)


def test_metrics_fit_a_line_of_a_terminal_however_many_budgets_there_are(contents):
    columns = {"Path": "artifacts/report/metrics.json", **metrics(contents)}
    widths = [max(len(name), len(str(value))) for name, value in columns.items()]
    assert sum(widths) + 4 * (len(widths) - 1) <= 100


def test_equal_contents_give_equal_bytes():
    assert plot_tables(sample_contents()) == plot_tables(sample_contents())
    assert json.dumps(details(sample_contents())) == json.dumps(details(sample_contents()))


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
