"""A workspace as it was at a commit, and what stands in the way of that."""

import configparser

import pytest

from flows.clone import (
    adopt_remote,
    check_origin,
    check_remote,
    clone_workspace,
    find_repository,
    pull,
    removed_on_failure,
)
from ofa_pipeline.documents.lineage import LineageOrigin
from ofa_pipeline.errors import OfaPipelineError, RegistryError
from tests.support.git import commit_all

URI = "models:/m/1"


def origin(commit="c" * 40, **changes):
    values = {
        "run_id": "a-run",
        "commit": commit,
        "branch": "main",
        "repository": "",
        "folder": ".",
        "changes": (),
        "package_version": "0.1.0",
        "command": "",
        "user": "",
        "has_lock": True,
    }
    return LineageOrigin(**(values | changes))


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    (root / "here" / ".dvc").mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", ".dvc/config"):
        (root / "here" / name).write_text("a: 1\n" if name.endswith("yaml") else "")
    return root, commit_all(root)


@pytest.fixture
def kept(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "params.yaml").write_text("a: 1\n")
    (folder / "dvc.lock").write_text("the lock\n")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commit": ""}, "in no git repository"),
        ({"commit": "--upload-pack=x"}, "in no git repository"),
        ({"changes": ("params.yaml",)}, "differed from commit cccccccccccc then: params.yaml"),
        ({"changes": None}, "no dvc.lock was kept"),
        ({"has_lock": False}, "no dvc.lock was kept"),
        ({"run_id": "", "commit": ""}, "somebody deleted it"),
    ],
)
def test_what_was_not_recorded_is_told_before_anything_is_cloned(changes, message):
    with pytest.raises(RegistryError, match=message):
        check_origin(URI, origin(**changes))


def test_clone_is_at_the_commit_with_the_kept_lock(repository, kept, tmp_path):
    root, commit = repository
    (root / "here" / "params.yaml").write_text("a: 2\n")
    commit_all(root)
    here = origin(commit, folder="here")
    assert find_repository(root / "here", here, None) == str(root)
    found = clone_workspace(here, str(root), tmp_path / "again", kept)
    assert found == tmp_path / "again" / "here"
    assert (found / "params.yaml").read_text() == "a: 1\n"
    assert (found / "dvc.lock").read_text() == "the lock\n"
    assert (found / "ofa_pipeline" / "__init__.py").exists()


def test_commit_that_is_not_there_is_named_with_where_it_was(repository, kept, tmp_path):
    root, _ = repository
    missing = origin(repository="https://user:secret@example.org/a.git")
    with pytest.raises(RegistryError, match=r"was cloned from https://\S*example.org/a.git") as met:
        find_repository(root, missing, None)
    assert "secret" not in str(met.value)
    with pytest.raises(RegistryError, match="never pushed"):
        clone_workspace(missing, str(root), tmp_path / "again", kept)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("folder", ["../..", "/", "elsewhere"])
def test_folder_must_hold_a_workspace_within_the_clone(repository, kept, tmp_path, folder):
    root, commit = repository
    with pytest.raises(RegistryError, match="must hold a workspace"):
        clone_workspace(origin(commit, folder=folder), str(root), tmp_path / "again", kept)
    assert not (tmp_path / "again").exists()


def test_folder_that_is_there_and_params_that_differ_are_refused(repository, kept, tmp_path):
    root, commit = repository
    (tmp_path / "full").mkdir()
    with pytest.raises(OfaPipelineError, match="is there already"):
        clone_workspace(origin(commit, folder="here"), str(root), tmp_path / "full", kept)
    (kept / "params.yaml").write_text("a: 3\n")
    with pytest.raises(RegistryError, match="must be the one that was registered"):
        clone_workspace(origin(commit, folder="here"), str(root), tmp_path / "again", kept)
    assert not (tmp_path / "again").exists()
    assert (tmp_path / "full").is_dir()


def test_remote_is_the_clones_else_the_workspaces_else_an_error(tmp_path):
    clone, workspace = tmp_path / "clone", tmp_path / "workspace"
    for root in (clone, workspace):
        (root / ".dvc").mkdir(parents=True)
    with pytest.raises(OfaPipelineError, match="dvc remote add -d NAME URL && dvc push"):
        adopt_remote(clone, workspace)
    section = "['remote \"store\"']\nurl = ../../store\npassword = secret\n"
    (workspace / ".dvc" / "config.local").write_text(f"[core]\nremote = store\n{section}")
    assert adopt_remote(clone, workspace) == "store"
    written = configparser.ConfigParser()
    written.read(clone / ".dvc" / "config.local")
    assert written["'remote \"store\"'"]["url"] == str(tmp_path / "store")
    assert (clone / ".dvc" / "config.local").stat().st_mode & 0o077 == 0
    (clone / ".dvc" / "config").write_text("[core]\nremote = own\n")
    (clone / ".dvc" / "config.local").unlink()
    assert adopt_remote(clone, workspace) == "own"


def test_remote_that_nobody_names_is_told_before_anything_is_cloned(repository, tmp_path):
    root, commit = repository
    workspace = tmp_path / "workspace"
    (workspace / ".dvc").mkdir(parents=True)
    made_from = origin(commit, folder="here")
    with pytest.raises(OfaPipelineError, match=r"neither the commit nor .* dvc remote add -d"):
        check_remote(made_from, str(root), workspace)
    for unknown in (origin(folder="here"), origin(commit, folder="elsewhere")):
        check_remote(unknown, str(root), workspace)  # the clone will tell
    check_remote(made_from, "https://example.com/elsewhere.git", workspace)
    (root / "here" / ".dvc" / "config").write_text("[core]\n    remote = store\n")
    check_remote(origin(commit_all(root), folder="here"), str(root), workspace)
    settings = "[core]\n    remote = own\n['remote \"own\"']\n    url = /kept\n"
    (workspace / ".dvc" / "config").write_text(settings)
    check_remote(made_from, str(root), workspace)


def test_remote_that_cannot_give_is_named_with_what_to_do(tmp_path):
    with pytest.raises(OfaPipelineError, match=r"the DVC remote store must keep .*: dvc push"):
        pull(tmp_path, ["fit_predictor"], remote="store")


def test_clone_whose_remote_is_refused_is_taken_away(tmp_path):
    clone = tmp_path / "again"
    (clone / ".dvc").mkdir(parents=True)
    with pytest.raises(OfaPipelineError, match="dvc remote add"), removed_on_failure(clone):
        adopt_remote(clone, tmp_path)
    assert not clone.exists()
    clone.mkdir()
    with removed_on_failure(clone):
        pass
    assert clone.is_dir()
