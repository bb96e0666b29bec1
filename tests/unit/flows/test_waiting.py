"""Notes of runs that wait for a device elsewhere, where no server answers."""

import os
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest

from flows import run
from flows.environment import API_VARIABLE
from flows.run import _wait_for_measurements
from flows.waiting import resume_arrived
from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.cli.carrying import is_waited_for
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.documents import Awaited, WaitingRun
from ofa_pipeline.errors import ManifestMismatchError
from tests.support.mlflow_server import free_port


@pytest.fixture
def note(tmp_path):
    """A note of a run whose server is gone."""
    run = WaitingRun(
        flow_run="01a21b68-2448-7879-8597-9faec3733d30",
        name="flowers: phone",
        server=f"http://127.0.0.1:{free_port()}/api",
        devices=("phone", "board"),
    )
    path = Layout(tmp_path).waiting_runs / "run.json"
    path.parent.mkdir(parents=True)
    write_json(path, run.to_dict())
    for device in run.devices:
        ElsewhereStore(Layout(tmp_path), device).wait_for(Awaited(round="profile"))
    return path


def test_nobody_is_asked_while_all_is_awaited(tmp_path, note):
    assert list(resume_arrived(tmp_path)) == []
    assert note.exists()
    assert is_waited_for(tmp_path, "board")
    assert not is_waited_for(tmp_path, "watch")


def test_a_run_whose_server_is_gone_keeps_its_note_and_says_how_to_go_on(tmp_path, note):
    ElsewhereStore(Layout(tmp_path), "board").arrived()
    (line,) = resume_arrived(tmp_path)
    assert line.startswith("flowers: phone waits on Prefect's server http://127.0.0.1:")
    assert "could not be resumed: Prefect's server d" in line
    assert "Go on without it: ofa-pipeline run --device phone" in line
    assert note.exists()


def test_a_note_that_was_edited_is_named(tmp_path, note):
    note.write_text("{}")
    with pytest.raises(ManifestMismatchError, match=r"run\.json is not as this version writes it"):
        list(resume_arrived(tmp_path))


def test_waiting_in_a_terminal_ends_when_one_of_the_devices_was_measured(
    tmp_path, note, monkeypatch, capsys
):
    arrive = ElsewhereStore(Layout(tmp_path), "board").arrived
    monkeypatch.setattr(time, "sleep", lambda _: arrive())
    _wait_for_measurements(tmp_path, ["phone", "board", "here"])
    assert "waiting for measurements of phone, board; Ctrl-C ends" in capsys.readouterr().err
    _wait_for_measurements(tmp_path, ["board"])  # what had come before anybody waited
    assert capsys.readouterr().err == ""


def test_what_goes_on_after_a_wait_does_not_look_for_the_server_that_has_ended(
    tmp_path, monkeypatch
):
    @contextmanager
    def server_of(_root):
        yield SimpleNamespace(
            api_url="http://127.0.0.1:1/api", wait_until_ready=lambda: None, wait_for_end=None
        )

    monkeypatch.delenv(API_VARIABLE, raising=False)
    monkeypatch.setattr(run, "prefect_server", server_of)
    with ExitStack() as stack:
        run._start_server(tmp_path, stack)
        assert os.environ[API_VARIABLE] == "http://127.0.0.1:1/api"
    assert API_VARIABLE not in os.environ
