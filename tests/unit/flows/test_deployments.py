"""`prefect.yaml`, for servers with work pools, offers what `ofa-pipeline serve` does."""

import importlib
import importlib.metadata
from pathlib import Path

import jsonschema
import pytest
import yaml

from flows.crashes import SILENCE_S
from flows.deployments import DEPLOYMENTS, RUNS_AT_A_TIME, WHEN_ONE_RUNS
from flows.environment import HEARTBEAT
from ofa_pipeline.params import load_params

ROOT = Path(__file__).parents[3]
FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_file_says_what_the_table_says():
    schedule = load_params(ROOT / "params.yaml").schedule

    def when(row):
        cron = schedule.cron if row.is_scheduled else row.cron
        return [{"cron": cron, "timezone": schedule.timezone}] if cron else []

    assert FILE["deployments"] == [
        {
            "name": row.name,
            "description": row.description,
            "entrypoint": f"{row.module.replace('.', '/')}.py:{row.flow}",
            "parameters": {"workspace": ".", **row.parameters},
            **({"schedules": when(row)} if when(row) else {}),
            "concurrency_limit": {"limit": RUNS_AT_A_TIME, "collision_strategy": WHEN_ONE_RUNS},
            "work_pool": {"name": FILE["name"], "job_variables": {"env": HEARTBEAT}},
        }
        for row in DEPLOYMENTS
    ]


def test_run_may_miss_a_report_before_it_is_taken_for_killed():
    [seconds] = HEARTBEAT.values()
    assert 2 * int(seconds) < SILENCE_S


@pytest.mark.parametrize("row", DEPLOYMENTS, ids=lambda row: row.name)
def test_flow_takes_its_parameters(row):
    flow = getattr(importlib.import_module(row.module), row.flow)
    assert flow.parameters.properties.keys() == {"workspace", *row.parameters, *row.needed}


def test_file_is_for_the_version_that_is_installed():
    assert FILE["prefect-version"] == importlib.metadata.version("prefect")


def schema_of(name):
    row = next(row for row in DEPLOYMENTS if row.name == name)
    return getattr(importlib.import_module(row.module), row.flow).parameters.model_dump()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("new-budgets", {"device": "../x", "budgets_ms": [1.0]}),
        ("new-budgets", {"device": "cpu", "budgets_ms": []}),
        ("new-budgets", {"device": "cpu", "budgets_ms": [0.0]}),
        ("new-budgets", {"device": "cpu", "budgets_ms": "1"}),
        ("new-budgets", {"device": "cpu"}),
        ("nightly", {"devices": ["a b"]}),
        ("nightly", {"devices": "cpu"}),
    ],
)
def test_server_refuses_wrong_parameters_before_a_run_starts(name, values):
    schema = schema_of(name)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"workspace": ".", **values}, schema)


def test_server_takes_right_parameters():
    values = {"workspace": ".", "device": "cpu", "budgets_ms": [0.5, 1]}
    jsonschema.validate(values, schema_of("new-budgets"))
    jsonschema.validate({"workspace": ".", "devices": []}, schema_of("nightly"))
