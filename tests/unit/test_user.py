"""Any uid, with or without a name and a home, gets both before the tools ask for them."""

import os
import pwd
from pathlib import Path

import pytest

from ofa_pipeline.errors import OfaPipelineError, ParamsError
from ofa_pipeline.user import expand_home, settle_user

NOBODY = 987_654


@pytest.fixture
def nameless(monkeypatch, tmp_path):
    """Be a uid without a passwd entry; its temporary files lie in the test's folder."""
    monkeypatch.setattr(os, "getuid", lambda: NOBODY)
    monkeypatch.setattr("ofa_pipeline.user.temporary_root", lambda: tmp_path)
    real = os.lstat

    def lstat(path, **options):
        found = real(path, **options)
        values = list(found)
        values[4] = NOBODY if str(path).startswith(str(tmp_path)) else values[4]
        return os.stat_result(values)

    monkeypatch.setattr(os, "lstat", lstat)
    monkeypatch.setattr(Path, "lstat", lstat)


@pytest.fixture
def unreadable(monkeypatch):
    """Refuse the folders that are asked to be refused, also to root."""
    refused = {}
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: real(path, mode) and not refused.get(Path(path), 0) & mode
    )
    return refused


def test_usual_user_is_left_alone(tmp_path):
    name = pwd.getpwuid(os.getuid()).pw_name
    before = {"HOME": str(tmp_path), "USER": name}
    environment = dict(before)
    settle_user(environment)
    assert environment == before


@pytest.mark.parametrize("home", [None, "", "/nonexistent", "/etc/passwd"])
def test_uid_without_entry_and_home_gets_both(nameless, tmp_path, home):
    environment = {} if home is None else {"HOME": home}
    settle_user(environment)
    assert environment["LOGNAME"] == f"uid-{NOBODY}"
    assert environment["HOME"] == str(tmp_path / f"ofa-pipeline-home-{NOBODY}")
    assert Path(environment["HOME"]).stat().st_mode & 0o777 == 0o700
    again = {}
    settle_user(again)
    assert again["HOME"] == environment["HOME"]


def test_name_inherited_from_another_uid_is_put_right(nameless, tmp_path):
    environment = {"USER": "root", "LOGNAME": "root", "HOME": str(tmp_path)}
    settle_user(environment)
    assert environment["LOGNAME"] == f"uid-{NOBODY}"
    assert environment["HOME"] == str(tmp_path)


def test_name_of_the_user_s_choice_stays(nameless, tmp_path):
    environment = {"USER": "nobody-is-called-so", "HOME": str(tmp_path)}
    settle_user(environment)
    assert "LOGNAME" not in environment


def test_home_that_may_not_be_entered_is_replaced(nameless, unreadable, tmp_path):
    home = tmp_path / "theirs"
    home.mkdir()
    unreadable[home] = os.X_OK
    environment = {"HOME": str(home)}
    settle_user(environment)
    assert environment["HOME"] == str(tmp_path / f"ofa-pipeline-home-{NOBODY}")


def test_home_that_cannot_be_written_stays_and_caches_go_elsewhere(nameless, unreadable, tmp_path):
    home = tmp_path / "read-only"
    home.mkdir()
    unreadable[home] = os.W_OK
    environment = {"HOME": str(home)}
    settle_user(environment)
    stand_in = tmp_path / f"ofa-pipeline-home-{NOBODY}"
    assert environment["HOME"] == str(home)
    assert environment["XDG_CACHE_HOME"] == str(stand_in / ".cache")
    assert environment["MPLCONFIGDIR"].startswith(str(stand_in))


def test_caches_of_the_user_s_choice_stay(nameless, unreadable, tmp_path):
    unreadable[tmp_path] = os.W_OK
    chosen = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "/c", "MPLCONFIGDIR": "/m"}
    environment = dict(chosen)
    settle_user(environment)
    assert {name: environment[name] for name in chosen} == chosen


def test_stand_in_of_another_user_is_not_used(nameless, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"ofa-pipeline-home-{NOBODY}").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environment = {}
    settle_user(environment)
    assert Path(environment["HOME"]).name.startswith(f"ofa-pipeline-home-{NOBODY}-")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_any_place_for_a_home_the_user_is_asked_for_one(nameless, monkeypatch, tmp_path):
    monkeypatch.setattr("ofa_pipeline.user.temporary_root", lambda: tmp_path / "missing")
    with pytest.raises(OfaPipelineError, match="Set HOME to a folder"):
        settle_user({})


def test_home_in_a_path_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/images") == tmp_path / "images"
    assert expand_home("images") == Path("images")


def test_home_of_nobody_is_an_error_with_advice():
    with pytest.raises(ParamsError, match="Write the whole path, or set HOME"):
        expand_home("~nobody-is-called-so/images")
