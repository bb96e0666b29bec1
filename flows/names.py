"""What runs and artifacts are called on Prefect's pages, which many workspaces may share."""

import re
from pathlib import Path
from typing import Any

import prefect.runtime

from ofa_pipeline.planning import address_of

WHOLE = "once-for-all"
DEEDS = ("profile-device", "re-certify", "re-search")
"""Flows whose runs say what they do with their devices."""


def artifact_key(kind: str, root: Path) -> str:
    """Return the key of a workspace's artifact: lower case, digits and dashes, as Prefect asks."""
    return re.sub("[^a-z0-9]+", "-", f"{kind}-{root.name}".lower()).strip("-")


def name_of_flow_run() -> str:
    """Return what a run of a flow does, and in which workspace."""
    given: dict[str, Any] = prefect.runtime.flow_run.parameters
    named = given.get("devices") or [name for name in [given.get("device")] if name]
    flow = prefect.runtime.flow_run.flow_name
    what = ", ".join(named) or ("whole pipeline" if flow == WHOLE else "all devices")
    deed = f"{flow} " if flow in DEEDS else ""
    return f"{_workspace(Path(given['workspace']))}: {deed}{what}"


def name_of_stage_run() -> str:
    """Return the name of a task that asks for a stage: workspace, stage, phase or device."""
    given: dict[str, Any] = prefect.runtime.task_run.parameters
    return f"{_workspace(given['dvc'].root)}: {address_of(given['stage'], given.get('item'))}"


def name_of_task_run() -> str:
    """Return the name of any other task of a workspace: that of its function, in words."""
    given: dict[str, Any] = prefect.runtime.task_run.parameters
    words = prefect.runtime.task_run.task_name.replace("_", " ")
    return f"{_workspace(given['root'])}: {words}"


def _workspace(root: Path) -> str:
    return root.resolve().name or str(root)
