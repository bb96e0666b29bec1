from dataclasses import replace

import numpy as np
import pytest

from ofa_pipeline.artifacts import Layout, read_json, verify_artifact, write_artifact, write_json
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.errors import MissingArtifactError, ParamsError
from ofa_pipeline.params import load_params
from ofa_pipeline.predictor import load_predictor
from ofa_pipeline.progress import Reporter
from ofa_pipeline.run_warnings import read_warnings
from ofa_pipeline.search import tuning
from ofa_pipeline.stages import StageContext, run_stage
from ofa_pipeline.tables import (
    ACCURACY_SCHEMA,
    CROSS_VALIDATION_SCHEMA,
    arch_columns,
    read_table,
    write_table,
)
from tests.support.documents import accuracy_noise
from tests.support.synthetic import labeled_sample

NUM_SUBNETS = 24


@pytest.fixture
def context(request, tmp_path):
    params = load_params(request.config.rootpath / "params.yaml")
    return StageContext(layout=Layout(tmp_path), params=params)


def write_accuracy(context, labels=None):
    """Write the accuracy artifact: every subnet once, the first with a second draw."""
    space = context.params.space.build()
    genes, accuracy = labeled_sample(space, NUM_SUBNETS, seed=0)
    accuracy = accuracy if labels is None else labels
    genes, accuracy = np.concatenate([genes, genes[:1]]), np.append(accuracy, accuracy[0] + 0.05)
    archs = space.archs(genes)
    cost = estimate_cost(space, genes, num_classes=10)
    with write_artifact(
        context.layout.accuracy, stage="collect_accuracy", item=None, params={}, inputs=[]
    ) as writer:
        columns = {
            **arch_columns(archs, macs=cost.macs, num_params=cost.num_params),
            "accuracy_top1": accuracy,
            "num_images": [100] * len(archs),
            "calibration_draw": [0] * NUM_SUBNETS + [1],
        }
        write_table(writer.folder / "accuracy.parquet", ACCURACY_SCHEMA, columns)
        changes = {"calibration_std": 0.0005, "num_repeated_subnets": 1, "num_draws": 2}
        noise = accuracy_noise().to_dict() | changes
        write_json(writer.folder / Layout.ACCURACY_NOISE, noise)


def test_the_stage_writes_a_predictor_and_its_report(context):
    write_accuracy(context)
    folder = run_stage("fit_predictor", context)
    manifest = verify_artifact(folder)
    report = read_json(folder / "report.json", made_by="test")
    rows = read_table(folder / "cross_validation.parquet", CROSS_VALIDATION_SCHEMA)
    assert load_predictor(folder).kind == report["kind"] == manifest.summary["kind"]
    assert report["label_noise_points"] == pytest.approx(0.05)
    assert rows.num_rows == report["num_subnets"] == NUM_SUBNETS
    assert set(report["candidates"]) == {"gaussian_process", "kernel_ridge", "ridge"}
    assert report["learning_curve"][-1]["num_samples"] < NUM_SUBNETS


def test_only_the_compared_draw_is_learned_from(context):
    write_accuracy(context)
    folder = run_stage("fit_predictor", context)
    rows = read_table(folder / "cross_validation.parquet", CROSS_VALIDATION_SCHEMA)
    space = context.params.space.build()
    _, accuracy = labeled_sample(space, NUM_SUBNETS, seed=0)
    assert sorted(rows["accuracy_top1"].to_pylist()) == pytest.approx(sorted(accuracy))


def test_running_again_gives_the_same_digest(context):
    write_accuracy(context)
    digests = {verify_artifact(run_stage("fit_predictor", context)).digest for _ in range(2)}
    assert len(digests) == 1


def test_a_predictor_that_ranks_warns_of_nothing(context):
    write_accuracy(context)
    assert read_warnings(run_stage("fit_predictor", context)) == ()


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.random.default_rng(0).uniform(0.4, 0.6, NUM_SUBNETS), "close to a lottery"),
        (np.full(NUM_SUBNETS, 0.5), "nothing to rank"),
    ],
)
def test_search_in_the_dark_warns_and_keeps_the_warning(context, labels, text):
    write_accuracy(context, labels)
    events = []
    context = replace(context, reporter=Reporter(events.append))
    [warning] = read_warnings(run_stage("fit_predictor", context))
    assert text in warning.text
    assert warning.text in [event.label for event in events if event.is_warning]


def test_a_missing_accuracy_table_is_named(context):
    with pytest.raises(MissingArtifactError, match=r"accuracy\.parquet is missing"):
        run_stage("fit_predictor", context)


def test_the_predictor_is_tuned_where_params_ask_for_it(context, monkeypatch):
    monkeypatch.setattr(tuning, "_TRIALS", 3)
    write_accuracy(context)
    tuned = {"kind": "gaussian_process", "tune": True, "cross_validation_folds": 3}
    params = context.params.model_copy(
        update={"predictor": context.params.predictor.model_copy(update=tuned)}
    )
    folder = run_stage("fit_predictor", replace(context, params=params))
    first = verify_artifact(folder)
    settings = read_json(folder / "predictor.json", made_by="test")["settings"]
    assert settings == first.summary["settings"]
    assert settings.keys() == {"prior_spread", "start_noise"}
    run_stage("fit_predictor", replace(context, params=params))
    assert verify_artifact(folder).digest == first.digest


def test_tuning_what_can_not_be_tuned_is_refused(context):
    write_accuracy(context)
    ridge = context.params.predictor.model_copy(update={"kind": "ridge", "tune": True})
    params = context.params.model_copy(update={"predictor": ridge})
    with pytest.raises(ParamsError, match=r"predictor\.tune has no effect on ridge"):
        run_stage("fit_predictor", replace(context, params=params))
