"""Every key of a recipe trains in a workspace; what is evaluated and found is of its space."""

import copy
import shutil

import pytest

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.stages import run_stage
from ofa_pipeline.supernet import load_supernet
from ofa_pipeline.tables import ACCURACY_SCHEMA, EVALUATIONS_SCHEMA, archs_of, read_table
from tests.support.trained_workspace import context_of, prepared_workspace

DEVICE = "cpu-pytorch"
EVERY_KEY = {
    "sampling": "sandwich",
    "subnets_per_step": 3,
    "teacher": "in_place",
    "loss": "alpha",
    "largest_only": {"dropout": 0.2, "drop_connect": 0.2, "label_smoothing": 0.1},
    "clip_value": 0.25,
    "resolution": "step",
    "ramp_epochs": 1,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    return root, prepared_workspace(root)


@pytest.fixture
def workspace(prepared, tmp_path):
    root, values = prepared
    shutil.copytree(root, tmp_path / "workspace")
    return tmp_path / "workspace", copy.deepcopy(values)


def test_a_coupled_workspace_evaluates_measures_and_finds_coupled_subnets(workspace):
    root, values = workspace
    layout = Layout(root)
    values["space"]["coupled"] = True
    values["phases"]["expand"] |= EVERY_KEY
    values["latency"] |= {"num_subnets": 10, "num_holdout": 5, "warmup_runs": 1, "timed_runs": 10}
    card = values["devices"][DEVICE]["card"]
    values["devices"] = {DEVICE: {"card": card, "budget_fractions": [0.5, 1.0]}}
    values["search"] |= {"population": 32, "generations": 4, "latency_margin": 0.0}
    values["search"] |= {"max_rounds": 1}
    for stage, item in (
        ("train_supernet", "largest"),
        ("train_supernet", "expand"),
        ("collect_accuracy", None),
        ("fit_predictor", None),
        ("profile_latency", DEVICE),
        ("search", DEVICE),
    ):
        run_stage(stage, context_of(root, values, item))
    space = load_supernet(layout.supernet_weights("expand")).space
    assert space.is_coupled
    manifest = Manifest.read(layout.supernet("expand"), made_by="test")
    assert EVERY_KEY.items() <= manifest.params["phases.expand"].items()
    for path, schema in (
        (layout.accuracy / layout.ACCURACIES, ACCURACY_SCHEMA),
        (layout.search(DEVICE) / layout.EVALUATIONS, EVALUATIONS_SCHEMA),
    ):
        archs = archs_of(read_table(path, schema))
        assert archs
        for arch in archs:
            space.check(arch)


def test_zero_gamma_begins_from_the_identity(workspace):
    root, values = workspace
    values["phases"]["largest"] |= {"zero_gamma": True, "learning_rate": 1e-300}  # no step at all
    run_stage("train_supernet", context_of(root, values, "largest"))
    state = load_supernet(Layout(root).supernet_weights("largest")).state_dict()
    zeros = {
        name for name, value in state.items() if name.endswith("norm.weight") and not value.any()
    }
    assert zeros == {
        "first_block.project.norm.weight",
        "groups.0.0.project.norm.weight",
        "groups.0.1.project.norm.weight",
        "groups.1.1.project.norm.weight",
    }
