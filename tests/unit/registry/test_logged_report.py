"""The report in the registry of its subnets."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.params import load_params
from ofa_pipeline.registry import open_registry
from ofa_pipeline.stages import StageContext, find_stage, missing_outside, run_stage
from tests.support.report_workspace import write_report_workspace

ROOT = Path(__file__).parents[3]


@pytest.fixture
def context(workspace):
    write_report_workspace(workspace)
    return StageContext(layout=Layout(workspace), params=load_params(ROOT / "params.yaml"))


def missing(context):
    row = find_stage("report")
    return missing_outside(row, None, layout=context.layout, params=context.params)


def reports_of(workspace):
    client = MlflowClient(open_registry(workspace).tracking_uri)
    return client, client.search_runs(["1"], filter_string="tags.`ofa.run` = 'report'")


def test_report_is_kept_as_the_files_of_one_run(context, workspace):
    (workspace / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert missing(context) == ()  # nothing is claimed
    for _ in range(2):
        run_stage("report", context)
    assert missing(context) == ()
    client, [run] = reports_of(workspace)
    found = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert found == {"params.yaml", "report"}
    within = {file.path for file in client.list_artifacts(run.info.run_id, "report")}
    assert {"report/report.html", "report/figures", "report/plots"} <= within
    assert run.info.status == "FINISHED"
    client.delete_run(run.info.run_id)
    assert missing(context) == ("report.html",)


def test_report_alone_makes_no_registry(context, workspace):
    (workspace / "mlflow.db").unlink()
    run_stage("report", context)
    assert missing(context) == ()
    assert not (workspace / "mlflow.db").exists()
