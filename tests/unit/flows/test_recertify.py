"""The flows that measure and search again: what they return, and when the report is made."""

import json
import subprocess
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import recertify, research, waiting
from flows.dvc_client import StageFailedError
from flows.waiting import Waiting
from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.exit_codes import EXIT_ERROR, EXIT_RESTLESS
from ofa_pipeline.params import set_budgets
from tests.support.documents import bundle_index, recertification

PARAMS = (Path(__file__).parents[3] / "params.yaml").read_text()
WAITING = Waiting(("cpu-pytorch",), "measure it there")


@pytest.fixture
def done(tmp_path, monkeypatch):
    """What the flow did in a workspace where nothing runs for real."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    found = []

    @contextmanager
    def open_workspace(_):
        yield SimpleNamespace(root=tmp_path)

    def measure_again(_, device, *, patience_s):
        assert patience_s == 3600
        found.append(f"measure {device}")
        return recertification(device=device, has_moved=device == "cpu-pytorch")

    monkeypatch.setattr(research, "open_workspace", open_workspace)
    for name, stand_in in {
        "open_workspace": open_workspace,
        "measure_again": measure_again,
        "check_run": lambda *_, **__: None,
        "begin_registry": lambda *_: lambda: None,
        "followed": lambda *_: nullcontext(lambda: None),
        "check_shared": lambda *_: None,
        "bring_up_to_date": lambda _, stage, device=None, again=False: (
            found.append(f"{stage} {device}") if again else None
        ),
        "serve_devices": lambda *_: WAITING,
        "finish": lambda *_: found.append("report"),
        "get_run_logger": lambda: SimpleNamespace(warning=found.append),
    }.items():
        monkeypatch.setattr(recertify, name, stand_in)
    return found


def test_report_is_made_where_no_device_has_changed(done, tmp_path):
    assert recertify.re_certify.fn(str(tmp_path), ["cpu-onnxruntime"]) is None
    assert done == ["measure cpu-onnxruntime", "report"]


def test_a_device_that_is_awaited_is_the_end_of_the_run(done, tmp_path):
    ended = recertify.re_certify.fn(str(tmp_path), ["cpu-pytorch"])
    assert (ended.name, ended.message) == ("Awaited", "measure it there")
    assert done == ["measure cpu-pytorch", "profile_latency cpu-pytorch"]


def test_devices_elsewhere_are_left_out_and_named(done, tmp_path):
    text = PARAMS.replace("runtime: onnxruntime,", "runtime: onnxruntime, location: away,")
    (tmp_path / "params.yaml").write_text(text)
    for device in ("cpu-onnxruntime", "cpu-pytorch"):
        folder = Layout(tmp_path).subnets(device)
        folder.mkdir(parents=True)
        write_json(folder / Layout.BUNDLES, bundle_index(device).to_dict())
    recertify.re_certify.fn(str(tmp_path), [])
    assert done[0].endswith("not of this machine: cpu-onnxruntime")
    assert done[1:] == ["measure cpu-pytorch", "profile_latency cpu-pytorch"]


def test_other_budgets_end_as_the_search_does(done, tmp_path, monkeypatch):
    monkeypatch.setattr(research, "serve", lambda *_: WAITING)
    ended = research.re_search.fn(str(tmp_path), "cpu-pytorch", [0.5])
    assert (ended.name, ended.message) == ("Awaited", "measure it there")


@pytest.fixture
def waited(done, monkeypatch):
    """The run goes on after it was suspended."""
    monkeypatch.setattr(research, "has_waited", lambda: True)
    monkeypatch.setattr(research, "serve", lambda *_: None)


def test_budgets_that_were_written_before_a_wait_are_not_written_again(waited, tmp_path):
    path = tmp_path / "params.yaml"
    text = set_budgets(path.read_text(), "cpu-pytorch", [0.5, 1.5], origin="params.yaml")
    path.write_text(text)
    assert research.re_search.fn(str(tmp_path), "cpu-pytorch", [0.5, 1.5]) is None
    assert path.read_text() == text


def test_budgets_that_somebody_wrote_during_a_wait_stay(waited, tmp_path):
    path = tmp_path / "params.yaml"
    text = path.read_text()
    with pytest.raises(ParamsError, match=r"wrote before it waited, 0\.5 ms, but are .* they stay"):
        research.re_search.fn(str(tmp_path), "cpu-pytorch", [0.5])
    assert path.read_text() == text


@pytest.mark.parametrize(("names", "expected"), [(["Suspended"], True), (["Crashed"], False)])
def test_only_a_run_that_was_suspended_has_waited(monkeypatch, names, expected):
    states = [SimpleNamespace(name=name) for name in ("Running", *names, "Running")]
    client = SimpleNamespace(read_flow_run_states=lambda _: states)
    monkeypatch.setattr(waiting, "get_client", lambda **_: nullcontext(client))
    run = SimpleNamespace(id="01a21b68-2448-7879-8597-9faec3733d30", run_count=2)
    runtime = SimpleNamespace(deployment=SimpleNamespace(id="1"), flow_run=run)
    monkeypatch.setattr(waiting, "prefect", SimpleNamespace(runtime=runtime))
    assert waiting.has_waited() is expected
    run.run_count = 1
    assert not waiting.has_waited()


@pytest.fixture
def tries(monkeypatch):
    """Commands that answer one after the other, with a clock of their own."""
    clock, said, ended = SimpleNamespace(now=0.0), [], []

    def sleep(seconds):
        clock.now += seconds

    def answer_with(*codes, stdout=""):
        left = list(codes)

        def answer(*_):
            clock.now += 1
            code = left.pop(0) if len(left) > 1 else left[0]
            ended.append(code)
            return subprocess.CompletedProcess([], code, stdout, "error: train (process 7)")

        monkeypatch.setattr(recertify, "_recertify", answer)
        return SimpleNamespace(clock=clock, said=said, ended=ended)

    logger = SimpleNamespace(warning=said.append, info=said.append)
    monkeypatch.setattr(recertify, "get_run_logger", lambda: logger)
    monkeypatch.setattr(
        recertify, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    )
    return answer_with


def test_busy_machine_is_measured_again_after_longer_and_longer_pauses(tries, tmp_path):
    quiet = recertification(device="cpu-pytorch", has_moved=False)
    done = tries(*[EXIT_RESTLESS] * 3, 0, stdout=json.dumps(quiet.to_dict()))
    assert recertify.measure_again.fn(tmp_path, "cpu-pytorch", patience_s=3600) == quiet
    assert [line.rpartition(" in ")[2] for line in done.said[:3]] == ["15 s.", "30 s.", "60 s."]
    assert all("train (process 7)" in line for line in done.said[:3])


def test_machine_that_is_never_quiet_is_given_up_in_time_with_who_was_busy(tries, tmp_path):
    done = tries(EXIT_RESTLESS)
    with pytest.raises(
        StageFailedError, match=r"60 minutes \(schedule.quiet_wait_minutes.*train \(process 7\)"
    ) as caught:
        recertify.measure_again.fn(tmp_path, "cpu-pytorch", patience_s=3600)
    assert caught.value.exit_code == EXIT_RESTLESS
    assert 3600 <= done.clock.now < 3610


@pytest.mark.parametrize(("code", "patience_s"), [(EXIT_ERROR, 3600), (EXIT_RESTLESS, 0)])
def test_other_errors_are_not_tried_again(tries, tmp_path, code, patience_s):
    done = tries(code)
    with pytest.raises(StageFailedError):
        recertify.measure_again.fn(tmp_path, "cpu-pytorch", patience_s=patience_s)
    assert done.ended == [code]
