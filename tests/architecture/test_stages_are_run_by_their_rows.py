"""Who runs stages knows rows of `STAGES`, not names: what is special of a stage is in its row."""

import ast
import importlib
from pathlib import Path

import pytest

from ofa_pipeline.stages import STAGES

ROOT = Path(__file__).parents[2]
RUNNERS = (
    "flows/stages.py",
    "flows/dvc_client.py",
    "flows/dvc_child.py",
    "ofa_pipeline/cli/pipeline.py",
    "ofa_pipeline/stages/events.py",
)


@pytest.mark.parametrize("path", RUNNERS)
def test_no_stage_is_treated_by_its_name(path):
    tree = ast.parse((ROOT / path).read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert texts.isdisjoint({stage.name for stage in STAGES})


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stage_says_what_is_gone_if_its_row_promises_so(stage):
    module = importlib.import_module(f"ofa_pipeline.stages.{stage.name}")
    assert hasattr(module, "missing_outside") is stage.makes_outside
