"""One run at a time; stages of the run are let through; git or no git."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from threading import Timer

import pytest

from ofa_pipeline import workspace
from ofa_pipeline.errors import OfaPipelineError, WorkspaceBusyError
from ofa_pipeline.gitignore import keep_out_of_git
from ofa_pipeline.workspace import (
    RUN_PID_VARIABLE,
    check_dvc_files,
    check_version_control,
    checkout_folder,
    choose_version_control,
    create_workspace,
    hold_stage,
    hold_workspace,
    is_under_git,
    lock_path,
)

HOLD = """
import sys
from pathlib import Path
from threading import Timer
from ofa_pipeline.workspace import hold_stage, hold_workspace
root, role = Path(sys.argv[1]), sys.argv[2]
lock = hold_workspace(root, role="run") if role == "run" else hold_stage(root, address="search@a")
with lock:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Start other processes that hold the workspace until the test ends."""
    processes = []

    def start(role, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )
        assert process.stdout.readline() == "held\n"
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_second_run_is_refused_at_once_with_the_pid_of_the_first(tmp_path, holder):
    first = holder("run")
    with (
        pytest.raises(WorkspaceBusyError, match=f"process {first.pid} .*kill {first.pid}"),
        hold_workspace(tmp_path, role="run"),
    ):
        pass


def test_patient_run_waits_until_the_first_one_ends(tmp_path, holder):
    first = holder("run")
    ended = Timer(0.5, first.kill)
    ended.start()
    with hold_workspace(tmp_path, role="run", is_patient=True):
        assert first.wait() != 0
        assert json.loads(lock_path(tmp_path, "workspace").read_text())["pid"] == os.getpid()


def test_stage_by_hand_is_refused_while_a_run_holds_the_workspace(tmp_path, holder):
    holder("run")
    with pytest.raises(WorkspaceBusyError), hold_stage(tmp_path, address="search@a"):
        pass


def test_stage_of_the_holding_run_is_let_through(tmp_path, holder, monkeypatch):
    first = holder("run")
    monkeypatch.setenv(RUN_PID_VARIABLE, str(first.pid))
    with hold_stage(tmp_path, address="search@a"):
        assert json.loads(lock_path(tmp_path, "search@a").read_text())["role"] == "stage"


def test_stage_of_another_run_is_refused(tmp_path, holder, monkeypatch):
    holder("run")
    monkeypatch.setenv(RUN_PID_VARIABLE, "1")
    with pytest.raises(WorkspaceBusyError), hold_stage(tmp_path, address="search@a"):
        pass


def test_killed_holder_leaves_nothing_behind(tmp_path, holder):
    first = holder("run")
    first.kill()
    first.wait()
    with hold_workspace(tmp_path, role="run"):
        pass


def test_stage_waits_for_the_same_stage_to_leave(tmp_path, holder):
    first = holder("stage")
    timer = threading.Timer(0.3, first.kill)
    timer.start()
    with hold_stage(tmp_path, address="search@a"):
        assert first.wait() != 0
    timer.join()


def test_stage_that_does_not_leave_is_named(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(workspace, "ORPHAN_PATIENCE_S", 0.2)
    holder("run")
    with (
        pytest.raises(WorkspaceBusyError, match="in use by process"),
        hold_stage(tmp_path, address="search@a"),
    ):
        pass


def test_process_that_holds_the_workspace_may_enter_it_again(tmp_path):
    with hold_workspace(tmp_path, role="run"):
        assert os.environ[RUN_PID_VARIABLE] == str(os.getpid())
        with hold_workspace(tmp_path, role="run"), hold_stage(tmp_path, address="report"):
            pass
    assert RUN_PID_VARIABLE not in os.environ


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "scratch").write_text("a file where a folder should be")
    with (
        pytest.raises(OfaPipelineError, match="must be writable"),
        hold_workspace(tmp_path, role="run"),
    ):
        pass


def test_file_system_without_locks_is_named_and_gets_no_marker_file(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):  # a marker file would refuse the second as busy
        with (
            pytest.raises(OfaPipelineError, match=r"with locks.*Function not implemented"),
            hold_workspace(tmp_path, role="run"),
        ):
            pass


def test_whoever_is_refused_leaves_the_words_of_the_holder(tmp_path, holder):
    first = holder("run")
    with pytest.raises(WorkspaceBusyError), hold_workspace(tmp_path, role="run"):
        pass
    path = lock_path(tmp_path, "workspace")
    command = f"-c {tmp_path} run"
    assert json.loads(path.read_text()) == {"pid": first.pid, "role": "run", "command": command}
    assert path.stat().st_mode & 0o777 == 0o644


def test_longer_words_of_an_earlier_holder_are_gone(tmp_path):
    path = lock_path(tmp_path, "workspace")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": 1, "role": "run", "command": "x" * 10_000}))
    with hold_workspace(tmp_path, role="run"):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_without_git_dvc_is_told_so_and_other_settings_stay(tmp_path):
    create_workspace(tmp_path)
    local = tmp_path / ".dvc" / "config.local"
    local.write_text("['remote \"mine\"']\n    url = s3://x\n")
    choose_version_control(tmp_path)
    assert "no_scm = true" in local.read_text()
    assert "url = s3://x" in local.read_text()
    before = local.stat().st_mtime_ns
    choose_version_control(tmp_path)
    assert local.stat().st_mtime_ns == before


def test_under_git_dvc_is_told_nothing(tmp_path):
    create_workspace(tmp_path)
    choose_version_control(tmp_path)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    choose_version_control(tmp_path)
    assert "no_scm = false" in (tmp_path / ".dvc" / "config.local").read_text()


def test_folder_that_git_ignores_is_not_under_git(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("/ignored/\n")
    (tmp_path / "ignored").mkdir()
    (tmp_path / "seen").mkdir()
    assert is_under_git(tmp_path / "seen")
    assert not is_under_git(tmp_path / "ignored")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A workspace at the top of a repository of nobody's settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    root = tmp_path / "root"
    create_workspace(root)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def exclude(root, place, pattern):
    """Have git ignore a pattern: by the workspace, the clone, or the user."""
    path = {
        ".gitignore": root / ".gitignore",
        "exclude": root / ".git" / "info" / "exclude",
        "global": root.parent / "ignored",
    }[place]
    path.write_text(f"x\n{pattern}\n")
    settings = f"[core]\nexcludesFile = {root.parent / 'ignored'}\n"
    (root.parent / "gitconfig").write_text(settings)


@pytest.mark.parametrize("place", [".gitignore", "exclude", "global"])
@pytest.mark.parametrize("pattern", ["*.lock", "dvc.lock", "dvc.*", "/dvc.yaml"])
def test_pattern_that_hides_dvc_s_files_is_found_and_its_cure_works(repository, place, pattern):
    exclude(repository, place, pattern)
    name = "dvc.yaml" if pattern == "/dvc.yaml" else "dvc.lock"
    with pytest.raises(OfaPipelineError, match=f"ignore {name}.* line 2 of .*!{name}") as caught:
        check_version_control(repository)
    assert pattern in str(caught.value)
    with (repository / ".gitignore").open("a") as file:
        file.write("!dvc.lock\n!dvc.yaml\n")
    check_version_control(repository)


def test_pattern_counts_also_for_a_file_that_git_tracks(repository):
    (repository / "dvc.lock").write_text("")
    subprocess.run(["git", "add", "dvc.lock"], cwd=repository, check=True)
    exclude(repository, ".gitignore", "*.lock")
    with pytest.raises(OfaPipelineError, match="must not ignore"):
        check_version_control(repository)


def test_usual_repositories_and_none_are_fine(repository, tmp_path):
    check_version_control(repository)
    exclude(repository, ".gitignore", "*.log")
    check_version_control(repository)
    (tmp_path / "bare").mkdir()
    check_version_control(tmp_path / "bare")


def test_workspace_that_its_repository_ignores_needs_nothing_of_git(repository):
    exclude(repository, ".gitignore", "*.lock\n/inner/")
    (repository / "inner").mkdir()
    check_version_control(repository / "inner")


@pytest.mark.parametrize("name", ["dvc.yaml", ".dvc", "ofa_pipeline"])
def test_what_dvc_works_with_is_missed_by_name_and_init_brings_it(tmp_path, name):
    root = tmp_path / "root"
    create_workspace(root)
    check_dvc_files(root)
    (root / name).rename(tmp_path / "away")
    with pytest.raises(OfaPipelineError, match=rf"has no {name}\..*ofa-pipeline init"):
        check_dvc_files(root)
    create_workspace(root)
    check_dvc_files(root)


def test_dvc_may_be_at_home_above_the_workspace(repository):
    create_workspace(repository / "inner")
    shutil.rmtree(repository / "inner" / ".dvc")
    check_dvc_files(repository / "inner")


def test_link_to_where_the_package_was_is_replaced(tmp_path):
    create_workspace(tmp_path)
    (tmp_path / "ofa_pipeline").unlink()
    (tmp_path / "ofa_pipeline").symlink_to(tmp_path / "gone")
    with pytest.raises(OfaPipelineError, match="has no ofa_pipeline"):
        check_dvc_files(tmp_path)
    create_workspace(tmp_path)
    assert (tmp_path / "ofa_pipeline" / "workspace.py").is_file()


def test_repository_of_another_user_is_explained(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(OfaPipelineError, match=r"safe\.directory") as caught:
        check_version_control(repository)
    assert str(repository) in str(caught.value)


def test_repository_that_git_cannot_read_is_told_in_git_s_words(repository):
    (repository / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(OfaPipelineError, match="not a git repository"):
        is_under_git(repository)


def test_without_git_a_repository_is_taken_for_one(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert is_under_git(repository)
    check_version_control(repository)


def test_workspace_needs_the_files_beside_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "files_to_start_from", lambda: tmp_path / "site-packages")
    with pytest.raises(OfaPipelineError, match="make setup"):
        create_workspace(tmp_path / "mine")


def git(folder, *words):
    found = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return found.stdout


WRITTEN_BY_RUNS = (
    *("artifacts/a/b", "scratch/locks/workspace", "scratch/x", "mlruns/1/x", "mlartifacts/1/x"),
    *("mlflow.db", "mlflow.db-wal", "mlflow.db.lock", ".prefect/prefect.db", ".prefect/server.log"),
    *(".dvc/cache/files/md5/ab/c", ".dvc/tmp/lock", ".dvc/config.local", "dvc_plots/index.html"),
    *(".env", "own/.env", ".venv/bin/python", "__pycache__/x.pyc", "own/__pycache__/x.pyc"),
)
SETTINGS = (".dvc/config", ".dvcignore", ".gitignore", "dvc.lock", "dvc.yaml", "params.yaml")


@pytest.mark.parametrize("place", ["repository", "repository/inner/work", "made a repository"])
def test_git_takes_all_settings_and_nothing_that_a_run_writes(tmp_path, monkeypatch, place):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    root = tmp_path / place
    root.mkdir(parents=True)
    if place != "made a repository":
        git(tmp_path / "repository", "init", "-q")
    create_workspace(root)
    choose_version_control(root)
    for name in ("dvc.lock", "own/notes.txt", *WRITTEN_BY_RUNS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if place == "made a repository":
        git(root, "init", "-q")
    git(root, "add", "-A")
    assert set(git(root, "ls-files").split()) == {*SETTINGS, "own/notes.txt"}


def test_lines_of_a_gitignore_stay_and_only_missing_ones_are_added(tmp_path):
    path = tmp_path / ".gitignore"
    path.write_bytes(b"caf\xe9\nscratch\n!/artifacts/")
    assert path in create_workspace(tmp_path)
    lines = path.read_bytes().splitlines()
    assert lines[:3] == [b"caf\xe9", b"scratch", b"!/artifacts/"]
    assert b"/mlflow.db*" in lines
    assert not {b"/scratch/", b"/artifacts/"} & set(lines)
    before = path.read_bytes()
    assert path not in create_workspace(tmp_path)
    assert path.read_bytes() == before


def test_clone_has_every_line_so_that_setting_it_up_changes_no_file(tmp_path):
    shutil.copy(checkout_folder() / ".gitignore", tmp_path)
    assert not keep_out_of_git(tmp_path)


def test_package_that_is_no_link_is_not_ignored(tmp_path):
    (tmp_path / "ofa_pipeline").mkdir()
    create_workspace(tmp_path)
    assert b"ofa_pipeline" not in (tmp_path / ".gitignore").read_bytes()
