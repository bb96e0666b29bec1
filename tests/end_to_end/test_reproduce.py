"""A registered subnet made again: a clone of its commit, its dvc.lock, the remote, toy stages."""

import json

import pytest

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.exit_codes import EXIT_ERROR
from ofa_pipeline.registry import Entry, RunNotes, open_registry
from ofa_pipeline.registry.notes import source_tags
from ofa_pipeline.registry.origin import SUBNETS_TAG, origin_files, origin_tags
from tests.support.certified import write_certified_bundle
from tests.support.git import commit_all
from tests.support.registry import digest_of, subnet_record
from tests.support.workspace import read_params, run_command, toy_workspace, write_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DEVICE = "cpu-onnxruntime"
CHAIN = {
    "artifacts/dataset": None,
    "artifacts/supernet/largest": "equal",
    "artifacts/supernet/expand": "equal",
    "artifacts/accuracy": "equal",
    "artifacts/predictor": "equal",
    f"artifacts/latency/{DEVICE}": "measured",
    f"artifacts/search/{DEVICE}": "measured",
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A finished workspace of one device that was committed before it ran, and pushed."""
    root = toy_workspace(tmp_path_factory.mktemp("ws") / "flowers")
    params = read_params(root)
    params["devices"] = {DEVICE: params["devices"][DEVICE]}
    write_params(root, params)
    remote = root.parent / "remote"
    run_command("dvc", "remote", "add", "-d", "store", remote, workspace=root)
    with (root / ".gitignore").open("a") as file:
        file.write("/calls.txt\n")
    commit_all(root)
    run_command("dvc", "repro", f"specialize@{DEVICE}", workspace=root)
    run_command("dvc", "push", workspace=root)
    return root


def register(root, folder, **lineage):
    """Register a bundle that names the artifacts of the workspace; other digests may be given."""
    layout = Layout(root)
    found = {path: Manifest.read(root / path, made_by="").digest for path in CHAIN}
    bundle = write_certified_bundle(folder / "bundle")
    record = subnet_record(
        device=DEVICE,
        accuracy=0.9 + 0.01 * len(lineage),
        bundle_digest=digest_of(bundle),
        model_name=f"m{len(lineage)}",
        lineage=found | lineage,
    )
    notes = RunNotes(
        name="register",
        tags={
            SUBNETS_TAG: Manifest.read(layout.subnets(DEVICE), made_by="").digest,
            **source_tags(root, stage="register", item=DEVICE),
            **origin_tags(layout),
        },
        files=origin_files(layout),
    )
    entry = Entry(record=record, bundle_folder=bundle)
    return open_registry(root).register_all([entry], notes=notes)[0]


def reproduce(root, subnet, folder, *words):
    command = ("ofa-pipeline", "reproduce", subnet.model_uri, folder, "--json", *words)
    return run_command(*command, workspace=root, check=False)


def test_every_link_is_made_again_and_compared(workspace, tmp_path):
    subnet = register(workspace, tmp_path)
    ended = reproduce(workspace, subnet, tmp_path / "again")
    answer = json.loads(ended.stdout)
    steps = {step["what"]: step for step in answer["steps"]}
    assert {path: steps[path]["replayed"] for path in CHAIN} == CHAIN, ended.stderr
    assert {steps[path]["kept"] for path in CHAIN} == {"equal"}
    calls = (tmp_path / "again" / "calls.txt").read_text().split()
    assert calls == [
        *("train_supernet@largest", "train_supernet@expand", "collect_accuracy"),
        *("fit_predictor", f"specialize@{DEVICE}"),
    ]
    # The toy's bundle is not the one that was registered.
    assert steps["model.onnx"]["replayed"] == "missing"
    assert steps["card.json"]["replayed"] == "measured"
    assert (answer["is_reproduced"], ended.returncode) == (False, EXIT_ERROR)


def test_what_the_remote_keeps_is_compared_without_making_it(workspace, tmp_path):
    wrong = {"artifacts/predictor": "0" * 64}
    subnet = register(workspace, tmp_path, **wrong)
    ended = reproduce(workspace, subnet, tmp_path / "again", "--check")
    steps = {step["what"]: step for step in json.loads(ended.stdout)["steps"]}
    assert steps["artifacts/predictor"]["kept"] == "differs"
    assert steps["artifacts/accuracy"]["kept"] == "equal"
    assert {step["replayed"] for step in steps.values()} == {None}
    assert not (tmp_path / "again" / "calls.txt").exists()
