"""The environment that our programs and the tools in them start with."""

import os
import subprocess
import sys

import pytest

from flows.environment import set_up_prefect, stage_environment
from flows.settings import PrefectSettingsError
from ofa_pipeline.cli.environment import settle_environment, start_our_own_code
from ofa_pipeline.workspace import checkout_folder

ROOT = str(checkout_folder())


def test_switches_of_the_user_stay(tmp_path):
    environment = {"HOME": str(tmp_path), "DVC_NO_ANALYTICS": "0"}
    settle_environment(environment)
    assert environment["DVC_NO_ANALYTICS"] == "0"
    assert environment["DO_NOT_TRACK"] == "true"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, [ROOT]), ("", [ROOT]), ("/a:/b", [ROOT, "/a", "/b"]), (f"/a:{ROOT}", [ROOT, "/a"])],
)
def test_our_packages_come_first(before, after):
    environment = {} if before is None else {"PYTHONPATH": before}
    start_our_own_code(environment)
    assert environment["PYTHONPATH"].split(os.pathsep) == after


def test_package_of_the_user_s_called_flows_is_not_taken_for_ours(tmp_path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("raise SystemExit('not ours')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    start_our_own_code(environment)
    code = "import flows; print(flows.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith(ROOT)


def world(tmp_path, **variables):
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path), **variables}


def test_proxy_that_prefect_cannot_use_is_kept_for_the_stages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = world(
        tmp_path, ALL_PROXY="socks://p:1", HTTP_PROXY="http://p:2", NO_PROXY="a.com"
    )
    assert set_up_prefect(tmp_path, environment) is None
    assert "ALL_PROXY" not in environment
    assert environment["HTTP_PROXY"] == "http://p:2"
    assert environment["NO_PROXY"].startswith("a.com,")
    set_up_prefect(tmp_path, environment)  # once more, in a run that a server starts
    stage = stage_environment(environment)
    assert (stage["ALL_PROXY"], stage["HTTP_PROXY"]) == ("socks://p:1", "http://p:2")


def test_server_behind_a_proxy_that_prefect_cannot_use_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = world(tmp_path, ALL_PROXY="socks://p:1", PREFECT_API_URL="http://far.com/api")
    with pytest.raises(PrefectSettingsError, match="ALL_PROXY names another one"):
        set_up_prefect(tmp_path, environment)


def test_server_on_this_machine_needs_no_proxy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = world(tmp_path, ALL_PROXY="socks://p:1", PREFECT_API_URL="http://localhost:1/api")
    assert set_up_prefect(tmp_path, environment).value == "http://localhost:1/api"
    assert "ALL_PROXY" not in environment
