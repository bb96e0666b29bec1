"""The flows that measure and search again: what they return, and when the report is made."""

from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.states import Completed

from flows import recertify, research
from ofa_pipeline.artifacts import Layout, write_json
from tests.support.documents import bundle_index, recertification

PARAMS = (Path(__file__).parents[3] / "params.yaml").read_text()
AWAITED = Completed(name="Awaited", data="measure it there")


@pytest.fixture
def done(tmp_path, monkeypatch):
    """What the flow did in a workspace where nothing runs for real."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    found = []

    @contextmanager
    def open_workspace(_):
        yield SimpleNamespace(root=tmp_path)

    def measure_again(_, device):
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
        "serve_devices": lambda *_: AWAITED,
        "finish": lambda *_: found.append("report"),
        "get_run_logger": lambda: SimpleNamespace(warning=found.append),
    }.items():
        monkeypatch.setattr(recertify, name, stand_in)
    return found


def test_report_is_made_where_no_device_has_changed(done, tmp_path):
    assert recertify.re_certify.fn(str(tmp_path), ["cpu-onnxruntime"]) is None
    assert done == ["measure cpu-onnxruntime", "report"]


def test_a_device_that_is_awaited_is_the_end_of_the_run(done, tmp_path):
    assert recertify.re_certify.fn(str(tmp_path), ["cpu-pytorch"]) is AWAITED
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
    monkeypatch.setattr(research, "serve", lambda *_: AWAITED)
    assert research.re_search.fn(str(tmp_path), "cpu-pytorch", [0.5]) is AWAITED
