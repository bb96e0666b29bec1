"""Telemetry is off wherever the user has not decided, by one list."""

from pathlib import Path

import pytest

from ofa_pipeline.telemetry import SWITCHES, keep_quiet

ROOT = Path(__file__).parents[2]
PLACES = ("ofa_pipeline", "flows", "scripts", "benchmarks", ".ci")


def test_switches_of_the_user_stay():
    environment = {"DVC_NO_ANALYTICS": "0"}
    keep_quiet(environment)
    assert environment == {**SWITCHES, "DVC_NO_ANALYTICS": "0"}


@pytest.mark.parametrize("name", SWITCHES)
def test_switch_is_declared_once(name):
    files = [ROOT / "Makefile", ROOT / "prefect.yaml", ROOT / "dvc.yaml"]
    files += [path for place in PLACES for path in (ROOT / place).rglob("*") if path.is_file()]
    sources = [path for path in files if path.suffix in {"", ".py", ".yaml", ".sh"}]
    found = [path for path in sources if name in path.read_text()]
    assert found == [ROOT / "ofa_pipeline" / "telemetry.py"]
