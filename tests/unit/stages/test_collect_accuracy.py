import dataclasses
import json

import numpy as np
import pytest

from ofa_pipeline.artifacts import read_json, verify_artifact
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages import collect_accuracy, run_stage
from ofa_pipeline.stages.collect_accuracy import MeasurementLog, Task, label_noise, plan_tasks
from ofa_pipeline.tables import ACCURACY_SCHEMA, archs_of, read_table
from tests.support.trained_workspace import context_of, prepared_workspace
from tests.support.training import tiny_space


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


def test_subnets_side_by_side_give_the_same_table(workspace, monkeypatch):
    root, values = workspace
    tables = []
    for cores in (1, 3):
        monkeypatch.setattr(collect_accuracy, "usable_cores", lambda count=cores: count)
        folder = run_stage("collect_accuracy", context_of(root, values))
        tables.append(read_table(folder / "accuracy.parquet", ACCURACY_SCHEMA))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("cores", [1, 3])
def test_an_interrupted_stage_keeps_what_it_measured(workspace, monkeypatch, cores):
    root, values = workspace
    monkeypatch.setattr(collect_accuracy, "usable_cores", lambda: cores)
    values = {**values, "accuracy": {**values["accuracy"], "seed": cores}}
    measured = []
    evaluator_of = collect_accuracy.evaluator_of

    def counting(*arguments):
        evaluator = evaluator_of(*arguments)
        evaluate = evaluator.evaluate

        def counted(arch, *, calibration_draw):
            measured.append((arch, calibration_draw))
            if len(measured) == 5:
                raise RuntimeError("killed")
            return evaluate(arch, calibration_draw=calibration_draw)

        monkeypatch.setattr(evaluator, "evaluate", counted)
        return evaluator

    monkeypatch.setattr(collect_accuracy, "evaluator_of", counting)
    context = context_of(root, values)
    with pytest.raises(RuntimeError, match="killed"):
        run_stage("collect_accuracy", context)
    events = []
    context = dataclasses.replace(context, reporter=Reporter(events.append, interval_s=0))
    run_stage("collect_accuracy", context)
    assert 15 + 1 <= len(measured) <= 15 + 1 + 2 * cores  # those that it cut off, begun again
    assert events[-1].done == 15


def test_repeats_are_spread_over_the_design():
    archs = [tiny_space().arch(depths=[a, b]) for a in (1, 2) for b in (1, 2)]
    tasks = plan_tasks(archs, num_repeats=3)
    assert [task.arch for task in tasks[:4]] == archs
    assert {task.calibration_draw for task in tasks[:4]} == {0}
    assert len(tasks) == 4 + 2 * 4
    assert len({task.key for task in tasks}) == len(tasks)


def test_a_torn_last_line_is_measured_again(tmp_path):
    path = tmp_path / "measurements.jsonl"
    whole = json.dumps(["one 0", {"accuracy_top1": 0.5, "num_images": 4}])
    path.write_text(f'{whole}\n["two 0", {{"accur')
    log = MeasurementLog(path)
    assert set(log.rows) == {"one 0"}
    assert path.read_text() == f"{whole}\n"


def test_noise_is_pooled_over_the_repeated_subnets():
    archs = [tiny_space().smallest, tiny_space().largest]
    tasks = [Task(arch=arch, calibration_draw=draw) for draw in (0, 1) for arch in archs]
    accuracies = [0.5, 0.80, 0.5, 0.82]
    rows = [{"accuracy_top1": value, "num_images": 100} for value in accuracies]
    noise = label_noise(tasks, rows)
    assert noise["calibration_std"] == pytest.approx(np.sqrt(2 * 0.01**2 / 2))
    assert noise["sampling_std"] == pytest.approx(np.sqrt(0.655 * 0.345 / 100))
    assert noise["num_draws"] == 2
