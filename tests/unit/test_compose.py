"""deploy/compose.yaml names what there is: services, variables, extras, pools."""

import re
import tomllib
from pathlib import Path

import yaml

from flows.services import WORK_POOL
from ofa_pipeline.telemetry import PICKLE_SWITCH, SWITCHES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy" / "compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
OURS = ("prefect", "mlflow", "registry", "prepare", "worker")


def test_every_variable_stands_in_the_example_and_no_secret_has_a_default():
    needed = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    example = (ROOT / "deploy" / "example.env").read_text()
    given = re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE)
    assert {name for name, _ in given} <= needed
    assert needed - {name for name, _ in given} <= {"PREFECT_PAGE", "MLFLOW_HOSTS"}
    assert {value for _, value in given} == {""}
    assert "deploy/.env" in (ROOT / ".gitignore").read_text()
    assert "deploy/store.json" in (ROOT / ".gitignore").read_text()


def test_nothing_listens_beyond_this_machine():
    ports = [port for item in SERVICES.values() for port in item.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_our_processes_are_quiet_and_load_no_pickle():
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert environment[PICKLE_SWITCH] == "false"
        for switch in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"):
            assert environment[switch] == SWITCHES[switch]


def test_extras_pools_and_images_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in OURS:
        wanted = SERVICES[name]["build"]["args"]["EXTRAS"].split(",")
        assert set(wanted) <= set(extras["optional-dependencies"])
    assert SERVICES["worker"]["entrypoint"][-1] == WORK_POOL
    others = [item["image"] for name, item in SERVICES.items() if name not in OURS]
    assert all(re.search(r":\d", image) for image in others)  # of a version


def test_who_depends_on_whom_is_there_and_healthy():
    for item in SERVICES.values():
        for name, need in item.get("depends_on", {}).items():
            ends = need["condition"] == "service_completed_successfully"
            assert ends or "healthcheck" in SERVICES[name]


def test_every_command_of_the_page_finds_the_file():
    found = re.findall(r"docker compose .*", (ROOT / "docs" / "deploy.md").read_text())
    assert found
    assert all(
        command.startswith("docker compose --file deploy/compose.yaml ") for command in found
    )
