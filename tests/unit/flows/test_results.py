"""What a run says at its end."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from flows.results import summary_markdown, warnings_markdown
from flows.run import _show_results, _show_warnings
from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.documents import Receipts
from ofa_pipeline.params import load_params
from ofa_pipeline.registry import RegisteredSubnet
from ofa_pipeline.run_warnings import RunWarning
from tests.support.registry import subnet_record

ROOT = Path(__file__).parents[3]
WARNING = RunWarning(
    stage="train_supernet", item="kernel", message="It got [worse].", advice="Lower the rate."
)


def test_warnings_are_a_list_above_the_key_figures():
    text = warnings_markdown([WARNING, WARNING])
    assert text.startswith("**2 warnings: ")
    assert text.count("- **train_supernet@kernel**: It got [worse]. Lower the rate.\n") == 2
    assert warnings_markdown([]) == ""


def test_run_ends_with_its_warnings(capsys):
    _show_warnings([WARNING])
    shown = capsys.readouterr().err
    assert shown.startswith("1 warning: ")
    assert "  train_supernet@kernel: It got [worse]. Lower the rate.\n" in shown


def test_run_without_warnings_says_nothing_of_them(capsys):
    _show_warnings([])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("served", [["cpu-onnxruntime"], ["cpu-onnxruntime", "cpu-pytorch"]])
def test_a_run_of_one_device_ends_well_where_others_were_never_served(tmp_path, capsys, served):
    params, layout = load_params(ROOT / "params.yaml"), Layout(tmp_path)
    for device in served:
        receipts = Receipts(device=device, receipts=())
        write_json(layout.registry(device) / Layout.RECEIPTS, receipts.to_dict())
    _show_results(tmp_path, params, duration_s=70)
    shown = capsys.readouterr().out.splitlines()
    of_report, done = shown[-2:]
    assert done == "done in 70 s"
    if len(served) == len(params.devices):
        assert of_report == f"report: {layout.report / Layout.REPORT_PAGE}"
    else:
        assert of_report == (
            "report: not made yet of cpu-pytorch: serve them, too, with ofa-pipeline run"
        )


@pytest.fixture
def subnet():
    record = subnet_record(accuracy=0.9, latency_ms=0.5, device="cpu-pytorch")
    return RegisteredSubnet(record=record, version=3)


def summary(subnets, registry):
    return summary_markdown(
        subnets, warnings=[WARNING], report=Path("/my work/report.html"), registry=registry
    )


def test_summary_shows_each_subnet_below_what_went_wrong(subnet):
    lines = summary([subnet, subnet], "http://127.0.0.1:5000").splitlines()
    assert lines[0].startswith("**1 warning: ")
    table = [line.split(" | ") for line in lines if line.startswith("|")]
    assert len(table) == 4  # head, rule, two subnets
    assert len({len(row) for row in table}) == 1
    assert table[2][0] == "| cpu-pytorch"
    assert table[2][1:5] == ["0.5", "90.00%", "0.5", "0.6"]


def test_summary_links_to_the_report_and_to_pages_of_a_registry_server(subnet):
    text = summary([subnet], "http://127.0.0.1:5000/")
    assert "(file:///my%20work/report.html)" in text
    assert "[v3](http://127.0.0.1:5000/#/models/ofa-tiny-cpu-pytorch/versions/3)" in text
    assert "<http://127.0.0.1:5000/>" in text


def test_summary_tells_how_to_look_at_a_registry_file_in_any_shell(subnet):
    text = summary([subnet], "sqlite:////my work/mlflow.db")
    program, *words = shlex.split(re.search("registry: `(.*)`", text)[1])
    assert Path(program) == Path(sys.executable).with_name("mlflow")
    assert words == ["ui", "--backend-store-uri", "sqlite:////my work/mlflow.db"]
    assert "| v3 |" in text
