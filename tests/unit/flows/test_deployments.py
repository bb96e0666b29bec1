"""`prefect.yaml`, for servers with work pools, offers what `ofa-pipeline serve` does."""

import importlib
import importlib.metadata
from pathlib import Path

import pytest
import yaml

from flows.deployments import DEPLOYMENTS, RUNS_AT_A_TIME, WHEN_ONE_RUNS
from ofa_pipeline.params import load_params

ROOT = Path(__file__).parents[3]
FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_file_says_what_the_table_says():
    schedule = load_params(ROOT / "params.yaml").schedule
    when = [{"cron": schedule.cron, "timezone": schedule.timezone}]
    assert FILE["deployments"] == [
        {
            "name": row.name,
            "description": row.description,
            "entrypoint": f"{row.module.replace('.', '/')}.py:{row.flow}",
            "parameters": {"workspace": ".", **row.parameters},
            **({"schedules": when} if row.is_scheduled else {}),
            "concurrency_limit": {"limit": RUNS_AT_A_TIME, "collision_strategy": WHEN_ONE_RUNS},
            "work_pool": {"name": FILE["name"]},
        }
        for row in DEPLOYMENTS
    ]


@pytest.mark.parametrize("row", DEPLOYMENTS, ids=lambda row: row.name)
def test_flow_takes_its_parameters(row):
    flow = getattr(importlib.import_module(row.module), row.flow)
    assert flow.parameters.properties.keys() == {"workspace", *row.parameters}


def test_file_is_for_the_version_that_is_installed():
    assert FILE["prefect-version"] == importlib.metadata.version("prefect")
