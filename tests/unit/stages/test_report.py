import json
from pathlib import Path

import pytest
import yaml

from ofa_pipeline.artifacts import Layout, verify_artifact
from ofa_pipeline.errors import MissingArtifactError
from ofa_pipeline.params import parse_params
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages import StageContext, run_stage
from tests.support.report_workspace import PHASES, write_report_workspace

ROOT = Path(__file__).parents[3]


def context_of(root, sink=None):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["phases"] = {name: values["phases"][name] for name in PHASES}
    values["final_phase"] = PHASES[-1]
    params = parse_params(values, origin="params.yaml")
    reporter = Reporter() if sink is None else Reporter(sink)
    return StageContext(layout=Layout(root), params=params, reporter=reporter)


def test_stage_writes_page_metrics_plots_and_charts(tmp_path):
    write_report_workspace(tmp_path)
    events = []
    folder = run_stage("report", context_of(tmp_path, events.append))
    files = set(verify_artifact(folder).files)
    assert {"report.html", "metrics.json", "plots/training_history.csv"} <= files
    assert "figures/pareto-cpu-pytorch.svg" in files
    assert json.loads((folder / "metrics.json").read_text())["accuracy_top1"] == 0.75
    assert json.loads((folder / "details.json").read_text())["best"]["accuracy_top1_test"] == 0.75
    assert "4 subnets" in events[-1].label


def test_stage_again_gives_the_same_artifact(tmp_path):
    write_report_workspace(tmp_path)
    context = context_of(tmp_path)
    first = verify_artifact(run_stage("report", context)).digest
    assert verify_artifact(run_stage("report", context)).digest == first


def test_stage_leaves_nothing_behind_when_an_artifact_is_missing(tmp_path):
    folders = write_report_workspace(tmp_path)
    (folders.predictor / "report.json").unlink()
    with pytest.raises(MissingArtifactError, match="fit_predictor"):
        run_stage("report", context_of(tmp_path))
    assert not list((tmp_path / "artifacts").glob("*report*"))
