"""The recipes that are compared are those that ship, and they run on a bare machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ofa_pipeline.params import load_params
from ofa_pipeline.training import phase_of
from ofa_pipeline.workspace import create_workspace

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import recipes  # noqa: E402 - benchmarks are no package

BARE = """
import runpy, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {"pydantic", "mlflow", "prefect", "optuna", "ruamel"}:
            raise ImportError(f"{name} is not on a bare machine")

sys.meta_path.insert(0, Missing())
sys.argv = ["recipes.py", *sys.argv[1:]]
runpy.run_path("recipes.py", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("trial", "preset"), [("shipped", None), ("progressive-shrinking", "progressive-shrinking")]
)
def test_a_recipe_of_params_is_compared_as_it_ships(trial, preset, tmp_path):
    create_workspace(tmp_path, preset=preset)
    params = load_params(tmp_path / "params.yaml")
    space = params.space.build()
    parts = recipes.TRIALS[trial].phases
    assert list(parts) == list(params.phases)
    for name, part in parts.items():
        expected = phase_of(name, params.phases[name], space, steps_per_epoch=10**6)
        found = recipes.phase_of(name, part, space, steps=recipes.EPOCH_STEPS)
        assert found == expected


def run_bare(*words):
    command = [sys.executable, "-c", BARE, *words]
    environment = {"PYTHONPATH": str(BENCHMARKS.parent)}
    return subprocess.run(
        command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True, check=False
    )


def test_it_runs_on_a_bare_machine():
    done = run_bare("--recipes", "sandwich-alpha", "--seconds", "0.1")
    assert done.returncode == 0, done.stderr
    *lines, summary = map(json.loads, done.stdout.splitlines())
    assert [line["size"] for line in lines] == ["smallest", "middle", "largest"]
    assert summary["extracted_largest"] == [lines[-1]["accuracy_top1_extracted"]]
    assert {line["steps"] for line in lines} == {recipes.EPOCH_STEPS}


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is wrong without a GPU")
def test_a_device_that_is_not_there_is_refused():
    done = run_bare("--device", "cuda")
    assert done.returncode == 2
    assert "torch sees none" in done.stderr
