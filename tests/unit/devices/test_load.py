"""What else a machine does, and how to install what it lacks: code that folders carry."""

import sys

import pytest

from ofa_pipeline.devices import installing, load


def test_cores_that_others_keep_busy_are_counted(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 1 1\n")
    monkeypatch.setattr(load.os, "cpu_count", lambda: 4)
    later = "cpu  200 0 150 750 100 0 0 0 90 0\n"  # 150 of 200 busy; what guests take is of users
    monkeypatch.setattr(load.time, "sleep", lambda _: stat.write_text(later))
    assert load.busy_cores(path=stat) == pytest.approx(3.0)


def test_where_cores_cannot_be_watched_the_load_of_the_last_minute_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(load.os, "getloadavg", lambda: (1.5, 9, 9))
    assert load.busy_cores(path=tmp_path / "none") == 1.5
    monkeypatch.delattr(load.os, "getloadavg")
    assert load.busy_cores(path=tmp_path / "none") is None


def test_a_command_is_of_the_python_that_lacks_something(tmp_path, monkeypatch):
    how = installing.how_to_install
    assert how("install a driver") == "install a driver"
    assert how("pip install ncnn").endswith(f"{sys.executable} -m pip install ncnn")
    monkeypatch.setattr(installing, "_has_pip", lambda: False)
    assert how("pip install ncnn").startswith(f"{sys.executable} -m ensurepip && ")
    (tmp_path / "EXTERNALLY-MANAGED").touch()  # as in Debian since 12
    monkeypatch.setattr(installing.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(installing.sys, "prefix", sys.base_prefix)
    assert how("pip install ncnn").startswith(f"{sys.executable} -m venv ~/ofa-measuring && ")
