"""The checks for a CUDA device still fit the library, and run on a bare machine without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu_common  # noqa: E402 - benchmarks are no package

BARE = """
import runpy, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {"pydantic", "scipy", "sklearn", "onnx", "mlflow", "ruamel"}:
            raise ImportError(f"{name} is not on a bare machine")

sys.meta_path.insert(0, Missing())
sys.argv = ["gpu_acceptance.py", "--only", "float32_logits", "teacher_statistics"]
runpy.run_path("gpu_acceptance.py", run_name="__main__")
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is not run without a GPU")
def test_it_runs_on_a_bare_machine_and_says_what_needs_a_gpu():
    command = [sys.executable, "-c", BARE]
    environment = {"PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(
        command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True, check=True
    )
    first, *lines = map(json.loads, done.stdout.splitlines())
    assert first["cuda_device"] == "none"
    verdicts = {line["check"]: line["verdict"] for line in lines}
    assert verdicts == {"float32_logits": "NOT RUN", "teacher_statistics": "PASS"}


def test_its_training_step_fits_the_library():
    space, cpu = gpu_common.small_space(), torch.device("cpu")
    with gpu_common.stepping(space, 32, batch=64, per_step=3, device=cpu) as update:
        update()
