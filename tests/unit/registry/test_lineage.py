"""Where a registered subnet comes from: every link of the chain, and what was kept beside it."""

import json

import pytest

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.registry import Entry, Origin, RunNotes
from ofa_pipeline.registry.lineage import read_lineage
from ofa_pipeline.registry.notes import source_tags
from ofa_pipeline.registry.origin import origin_files, origin_tags
from tests.support.certified import register_certified, write_certified_bundle
from tests.support.git import commit_all, git
from tests.support.registry import InMemoryRegistry, digest_of, subnet_record

LINEAGE = {
    "artifacts/accuracy": "ac" * 32,
    "artifacts/dataset": "da" * 32,
    "artifacts/latency/cpu": "1a" * 32,
    "artifacts/predictor": "99" * 32,
    "artifacts/search/cpu": "5e" * 32,
    "artifacts/supernet/a_second": "22" * 32,
    "artifacts/supernet/first": "11" * 32,
}
PARAMS = "phases:\n  first: {epochs: 1}\n  a_second: {epochs: 1}\n"


@pytest.fixture
def committed(workspace):
    """A workspace at a commit, with a dvc.lock that the run has changed since."""
    (workspace / ".gitignore").write_text("/mlflow.db*\n/mlruns\n")
    (workspace / "params.yaml").write_text(PARAMS)
    (workspace / "dvc.yaml").write_text("stages: {}\n")
    (workspace / "dvc.lock").write_text("schema: '2.0'\n")
    commit = commit_all(workspace)
    (workspace / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    return workspace, commit


def registered(registry, root, folder):
    bundle = write_certified_bundle(folder / "bundle")
    record = subnet_record(lineage=LINEAGE, bundle_digest=digest_of(bundle))
    layout = Layout(root)
    notes = RunNotes(
        name="register cpu",
        params={"specialize.epochs": "4"},
        tags={**source_tags(root, stage="register", item="cpu"), **origin_tags(layout)},
        files=origin_files(layout),
    )
    entry = Entry(record=record, bundle_folder=bundle)
    return registry.register_all([entry], notes=notes)[0]


def test_chain_leads_from_the_bundle_to_the_images(registry, committed, tmp_path):
    root, commit = committed
    subnet = registered(registry, root, tmp_path)
    (tmp_path / "kept").mkdir()
    found = read_lineage(registry, subnet, tmp_path / "kept")
    assert [(step.stage, step.digest[:2]) for step in found.steps] == [
        ("register@cpu", subnet.record.bundle_digest[:2]),
        ("specialize@cpu", ""),
        ("search@cpu", "5e"),
        ("profile_latency@cpu", "1a"),
        ("fit_predictor", "99"),
        ("collect_accuracy", "ac"),
        ("train_supernet@a_second", "22"),
        ("train_supernet@first", "11"),
        ("prepare_dataset", "da"),
        ("list_source", ""),
    ]
    origin = found.origin
    assert (origin.commit, origin.folder, origin.changes) == (commit, ".", ())
    assert origin.command == "ofa-pipeline stage register --item cpu"
    assert found.params == {"specialize.epochs": "4"}
    assert origin.has_lock
    assert (tmp_path / "kept" / "dvc.lock").read_text() == (root / "dvc.lock").read_text()
    assert set(found.files) >= {"card.json", "model.onnx", "subnet.json"}


def test_run_that_somebody_deleted_leaves_the_chain(registry, committed, tmp_path):
    from mlflow import MlflowClient

    subnet = registered(registry, committed[0], tmp_path)
    client = MlflowClient(registry.tracking_uri)
    for run in client.search_runs([client.get_experiment_by_name("once-for-all").experiment_id]):
        client.delete_run(run.info.run_id)
    database = registry._mlflow.client._tracking_client.store
    database._hard_delete_run(
        client.get_logged_model(registry._catalog.model_id(subnet)).source_run_id
    )
    (tmp_path / "kept").mkdir()
    found = read_lineage(registry, subnet, tmp_path / "kept")
    assert (found.origin.run_id, found.origin.has_lock) == ("", False)
    assert found.steps[2].digest == "5e" * 32


def test_of_many_files_that_differ_the_first_are_recorded_and_how_many_more(committed):
    root, _ = committed
    (root / "ofa_pipeline").mkdir()
    for number in range(52):
        (root / "ofa_pipeline" / f"{number:02}.py").write_text("")
    names = json.loads(origin_tags(Layout(root))["ofa.git_changes"])
    assert (len(names), names[49:]) == (51, ["ofa_pipeline/49.py", "(and 2 more)"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: (root / "params.yaml").write_text("phases: {}\n"), ["params.yaml"]),
        (lambda root: (root / "dvc.yaml").unlink(), ["dvc.yaml"]),
        (lambda root: (root / "notes.txt").write_text("mine"), []),
        (lambda root: (root / "ofa_pipeline").mkdir() or _code(root), ["ofa_pipeline/a.py"]),
        (lambda root: git(root, "mv", "dvc.yaml", "dvc yaml"), ["dvc yaml"]),
    ],
)
def test_files_that_differ_from_the_commit_are_recorded(committed, change, expected):
    root, _ = committed
    change(root)
    assert json.loads(origin_tags(Layout(root))["ofa.git_changes"]) == expected


def _code(root):
    (root / "ofa_pipeline" / "a.py").write_text("")


def test_workspace_within_a_repository_is_recorded_with_its_folder(tmp_path):
    inner = tmp_path / "work" / "a space"
    inner.mkdir(parents=True)
    (inner / "params.yaml").write_text("a: 1\n")
    (tmp_path / "other").write_text("1")
    commit_all(tmp_path)
    (inner / "params.yaml").write_text("a: 2\n")
    (tmp_path / "other").write_text("2")  # not of this workspace
    tags = origin_tags(Layout(inner))
    assert tags["ofa.git_folder"] == "work/a space"
    assert json.loads(tags["ofa.git_changes"]) == ["params.yaml"]


def test_workspace_without_git_has_no_commit(tmp_path):
    assert origin_tags(Layout(tmp_path)) == {}


def test_fine_tuning_says_what_it_gave(tmp_path):
    registry = InMemoryRegistry()
    registry.came_from = Origin(run_id="r", commit="c" * 40)
    subnet = register_certified(registry, write_certified_bundle(tmp_path / "bundle"))
    found = read_lineage(registry, subnet, tmp_path)
    assert "top-1 on selection" in found.steps[1].note or found.steps[1].note == "none"
