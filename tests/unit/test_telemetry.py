"""Telemetry is off wherever the user has not decided, by one list."""

from pathlib import Path

import pytest

from ofa_pipeline.telemetry import PICKLE_SWITCH, SWITCHES, keep_quiet, refuse_pickles

ROOT = Path(__file__).parents[2]
PLACES = ("ofa_pipeline", "flows", "scripts", "benchmarks", ".ci")


def test_switches_of_the_user_stay():
    environment = {"DVC_NO_ANALYTICS": "0"}
    keep_quiet(environment)
    assert environment == {**SWITCHES, "DVC_NO_ANALYTICS": "0"}


def test_pickles_are_refused_whatever_was_set():
    environment = {PICKLE_SWITCH: "true"}
    refuse_pickles(environment)
    assert environment == {PICKLE_SWITCH: "false"}


def test_page_on_security_tells_every_switch_with_its_value():
    page = (ROOT / "docs" / "security.md").read_text()
    settings = {**SWITCHES, PICKLE_SWITCH: "false"}
    assert [name for name, value in settings.items() if f"`{name}={value}`" not in page] == []


@pytest.mark.parametrize("name", SWITCHES)
def test_switch_is_declared_once(name):
    files = [ROOT / "Makefile", ROOT / "prefect.yaml", ROOT / "dvc.yaml"]
    files += [path for place in PLACES for path in (ROOT / place).rglob("*") if path.is_file()]
    sources = [path for path in files if path.suffix in {"", ".py", ".yaml", ".sh"}]
    found = [path for path in sources if name in path.read_text()]
    assert found == [ROOT / "ofa_pipeline" / "telemetry.py"]
