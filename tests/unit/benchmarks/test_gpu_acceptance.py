"""The checks for a CUDA device still fit the library, and run on a bare machine without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ofa_pipeline.compute import Ranks

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu_ranks  # noqa: E402 - benchmarks are no package
import gpu_speed  # noqa: E402
import supernet_epoch  # noqa: E402

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


def test_a_speed_is_of_the_steps_that_fit_its_seconds():
    found = gpu_speed.speed_32px(batch=32, seconds=0, device=torch.device("cpu"))
    assert found.figures["steps"] == gpu_speed.CHUNK


def test_an_epoch_is_extrapolated_from_the_steps_that_were_measured(monkeypatch):
    monkeypatch.setattr(supernet_epoch, "WARM_UP", 1)
    cpu = torch.device("cpu")
    found = supernet_epoch.measure(cpu, batch_size=32, num_images=96, seconds=0)
    assert (found["steps"], found["is_whole_epoch"]) == (1, False)
    found = supernet_epoch.measure(cpu, batch_size=32, num_images=96, seconds=600)
    assert (found["steps"], found["is_whole_epoch"]) == (3, True)
    step = found["step_ms"] / 1000
    assert found["seconds_for_50000"] == pytest.approx(50_000 / 32 * step, rel=0.01)


def test_ranks_keep_the_weights_of_each_step():
    one, two = gpu_ranks.train(Ranks(), torch.device("cpu"), dtype=torch.float64, steps=2)
    assert one.dtype == torch.float64
    assert not torch.equal(one, two)
