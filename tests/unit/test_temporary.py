"""Temporary folders vanish with their owner, or with the next one when the owner was killed."""

import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.temporary import sweep, temporary_folder, temporary_root

KILLED = """
import os, sys
from pathlib import Path
from ofa_pipeline.temporary import temporary_folder
with temporary_folder("test", parent=Path(sys.argv[1])) as folder:
    (folder / "file").write_text("x")
    os.kill(os.getpid(), 9)
"""


def test_folder_is_private_and_goes_with_the_body(tmp_path):
    with temporary_folder("test", parent=tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert f"-{os.getuid()}-" in folder.name
        (folder / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_folder_goes_when_the_body_fails(tmp_path):
    with pytest.raises(ValueError, match="no"), temporary_folder("test", parent=tmp_path):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_folder_of_a_killed_owner_is_swept_by_the_next(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    [left] = tmp_path.iterdir()
    with temporary_folder("other", parent=tmp_path):
        assert left.exists()
    with temporary_folder("test", parent=tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_folder_in_use_is_never_swept(tmp_path):
    with temporary_folder("test", parent=tmp_path) as first:
        with temporary_folder("test", parent=tmp_path) as second:
            assert first.exists()
            assert second != first
        assert sweep(tmp_path, prefix="ofa-pipeline-") == ()
        assert first.exists()


def test_links_and_files_are_left_alone(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "ofa-pipeline-link").symlink_to(precious)
    (tmp_path / "ofa-pipeline-file").write_text("x")
    assert sweep(tmp_path, prefix="ofa-pipeline-") == ()
    assert precious.exists()


def test_folder_of_another_user_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "ofa-pipeline-theirs").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert sweep(tmp_path, prefix="ofa-pipeline-") == ()


def test_many_at_once_never_take_each_others_folder(tmp_path):
    def use(_):
        with temporary_folder("test", parent=tmp_path) as folder:
            (folder / "file").write_text("x")
            return (folder / "file").read_text()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(100))) == ["x"] * 100
    assert list(tmp_path.iterdir()) == []


def test_without_locks_a_folder_is_used_and_never_swept(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with temporary_folder("test", parent=tmp_path) as folder:
        assert sweep(tmp_path, prefix="ofa-pipeline-") == ()
        assert folder.exists()


def test_parent_that_cannot_be_used_is_named(tmp_path):
    with (
        pytest.raises(OfaPipelineError, match="set TMPDIR"),
        temporary_folder("test", parent=tmp_path / "missing"),
    ):
        pass


def test_root_is_the_system_s():
    assert temporary_root() == Path(os.environ.get("TMPDIR", "/tmp"))
