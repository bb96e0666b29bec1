"""`ofa-pipeline plan` in a workspace whose stages take no time."""

import json

import pytest

from flows import plan
from ofa_pipeline.exit_codes import EXIT_BUSY
from ofa_pipeline.workspace import hold_workspace
from tests.support.workspace import read_params, run_command, toy_workspace, write_params


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return toy_workspace(tmp_path)


def planned(root, capsys, *words):
    code = plan.main(["--workspace", str(root), "--estimate", "--json", *words])
    output = capsys.readouterr()
    return code, json.loads(output.out) if code == 0 else None, output.err


def states(found):
    return {stage["address"]: stage["state"] for stage in found["stages"]}


def test_what_dvc_judges_is_planned_and_what_it_has_kept_is_restored(root, capsys):
    code, found, _ = planned(root, capsys)
    assert code == 0
    assert set(states(found).values()) == {"checked", "runs"}
    assert found["seconds"] > 10
    assert not (root / "dvc.lock").exists()

    run_command("dvc", "repro", workspace=root)
    assert set(states(planned(root, capsys)[1]).values()) == {"checked", "current"}

    params = read_params(root)
    params["search"]["seed"] = 5
    write_params(root, params)
    changed = states(planned(root, capsys)[1])
    assert changed["search@cpu-pytorch"] == changed["report"] == "runs"
    assert changed["collect_accuracy"] == "current"

    run_command("dvc", "repro", workspace=root)
    params["search"]["seed"] = 0
    write_params(root, params)
    assert states(planned(root, capsys)[1])["search@cpu-pytorch"] == "restored"


def test_a_workspace_that_a_run_holds_is_not_measured_beside_it(root, capsys, monkeypatch):
    with hold_workspace(root, role="run"):
        monkeypatch.delenv("OFA_RUN_PID")  # as another process sees it
        code, _, err = planned(root, capsys)
        monkeypatch.setenv("OFA_RUN_PID", "0")
    assert code == EXIT_BUSY
    assert "is in use by process" in err


def test_params_that_do_not_check_are_an_error(root, capsys):
    params = read_params(root)
    params["training"]["batch_size"] = -1
    write_params(root, params)
    code, _, err = planned(root, capsys)
    assert code != 0
    assert "training.batch_size" in err


def test_a_source_that_cannot_be_read_is_an_error_that_names_it(root, capsys):
    (root / "images.parquet").write_bytes(b"no parquet")
    code, _, err = planned(root, capsys)
    assert code != 0
    assert "images.parquet" in err


def test_a_folder_that_is_no_workspace_is_an_error(tmp_path, capsys):
    code, _, err = planned(tmp_path, capsys)
    assert code != 0
    assert "params.yaml is missing" in err
