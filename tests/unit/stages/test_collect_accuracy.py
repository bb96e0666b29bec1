import dataclasses

import pytest

from ofa_pipeline.artifacts import read_json, verify_artifact
from ofa_pipeline.compute import LocalExecutor
from ofa_pipeline.evaluation import SubnetEvaluator
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages import run_stage
from ofa_pipeline.tables import ACCURACY_SCHEMA, archs_of, read_table
from tests.support.trained_workspace import context_of, prepared_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("collected")
    values = prepared_workspace(root)
    for phase in values["phases"]:
        run_stage("train_supernet", context_of(root, values, phase))
    return root, values


def test_the_table_holds_the_design_and_its_repeats(workspace):
    root, values = workspace
    folder = run_stage("collect_accuracy", context_of(root, values))
    manifest = verify_artifact(folder)
    table = read_table(folder / "accuracy.parquet", ACCURACY_SCHEMA)
    noise = read_json(folder / "noise.json", made_by="test")
    space = context_of(root, values).params.space.build()
    archs = archs_of(table)
    draws = table["calibration_draw"].to_numpy()
    assert table.num_rows == 10 + 5
    assert len(set(archs)) == (draws == 0).sum() == 10
    assert archs[0] == space.smallest
    assert archs[9] == space.largest
    assert set(archs[10:]) <= set(archs[:10])
    assert noise["calibration_std"] >= 0
    assert manifest.summary["num_subnets"] == 10
    assert not any((root / "scratch" / "collect_accuracy").iterdir())


def test_subnets_side_by_side_give_the_same_table(workspace):
    root, values = workspace
    tables = []
    for workers in (1, 3):
        context = dataclasses.replace(
            context_of(root, values), executor=LocalExecutor(workers=workers)
        )
        folder = run_stage("collect_accuracy", context)
        tables.append(read_table(folder / "accuracy.parquet", ACCURACY_SCHEMA))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_stage_keeps_what_it_measured(workspace, monkeypatch, workers):
    root, values = workspace
    values = {**values, "accuracy": {**values["accuracy"], "seed": workers}}
    measured = []
    evaluate = SubnetEvaluator.evaluate

    def counted(evaluator, arch, *, calibration_draw):
        measured.append((arch, calibration_draw))
        if len(measured) == 5:
            raise RuntimeError("killed")
        return evaluate(evaluator, arch, calibration_draw=calibration_draw)

    monkeypatch.setattr(SubnetEvaluator, "evaluate", counted)
    context = dataclasses.replace(context_of(root, values), executor=LocalExecutor(workers))
    with pytest.raises(RuntimeError, match="killed"):
        run_stage("collect_accuracy", context)
    events = []
    context = dataclasses.replace(context, reporter=Reporter(events.append, interval_s=0))
    run_stage("collect_accuracy", context)
    assert 15 + 1 <= len(measured) <= 15 + 1 + 2 * workers  # those that it cut off, begun again
    assert events[-1].done == 15
