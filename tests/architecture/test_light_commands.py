"""What each command imports, in a fresh interpreter: it waits for nothing that it does not need."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.registry import write_bundle

ROOT = Path(__file__).parents[2]
HEAVY = frozenset(
    {"torch", "torchvision", "mlflow", "prefect", "dvc", "optuna", "pandas", "sklearn", "scipy"}
)
NOT_FOR_HELP = HEAVY | {"numpy", "pyarrow", "onnxruntime", "PIL"}

# Runs a command as the program does; prints the top-level packages that are loaded at its end.
PROBE = """
import json, sys
from ofa_pipeline.cli import main
sys.argv[0] = "ofa-pipeline"
try:
    main()
except SystemExit:
    pass
loaded = {name.partition(".")[0] for name in sys.modules}
sys.stderr.write("\\n" + json.dumps(sorted(loaded)) + "\\n")
"""


@pytest.fixture
def workspace(tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    return tmp_path


def packages_after(*words: str, folder: Path) -> tuple[set[str], str]:
    """Return the packages that a command has loaded, and what it printed."""
    services = {"MLFLOW_TRACKING_URI", "PREFECT_API_URL"}
    finished = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in services}
        | {"PYTHONPATH": str(ROOT)},
    )
    return set(json.loads(finished.stderr.splitlines()[-1])), finished.stdout + finished.stderr


@pytest.mark.parametrize("words", [["--help"], ["subnts"], ["params", "--help"], ["--version"]])
def test_help_and_typing_errors_need_no_library(workspace, words):
    loaded, _ = packages_after(*words, folder=workspace)
    assert loaded.isdisjoint(NOT_FOR_HELP)


def test_params_are_checked_without_what_trains_measures_and_registers(workspace):
    loaded, text = packages_after("params", "check", folder=workspace)
    assert "not checked: servers of a Prefect profile" in text  # it came to its end
    assert loaded.isdisjoint(HEAVY | {"onnxruntime"})


def test_params_are_checked_without_a_thread_for_each_core(workspace):
    probe = PROBE + "import os; os.write(2, b'%d threads' % len(os.listdir('/proc/self/task')))"
    finished = subprocess.run(
        [sys.executable, "-c", probe, "params", "check"],
        capture_output=True,
        check=True,
        cwd=workspace,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert finished.stderr.endswith(b"\n2 threads")  # its own, and that of Arrow's allocator


def test_completion_needs_no_library(workspace, monkeypatch):
    monkeypatch.setenv("_OFA_PIPELINE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ofa-pipeline sub")
    monkeypatch.setenv("COMP_CWORD", "1")
    loaded, text = packages_after(folder=workspace)
    assert text.splitlines()[0] == "subnets"
    assert loaded.isdisjoint(NOT_FOR_HELP)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="a GPU is looked at with torch")
def test_runtimes_are_probed_without_torch():
    code = (
        "import sys; from ofa_pipeline.devices import probe_runtimes; probe_runtimes(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("words", [["subnets"], ["best", "-d", "cpu-onnxruntime", "-t", "1"]])
def test_where_nothing_is_registered_mlflow_is_not_asked(workspace, words):
    loaded, text = packages_after(*words, folder=workspace)
    assert "registered" in text
    assert loaded.isdisjoint(HEAVY)


def test_a_subnet_for_pytorch_answers_without_torch(workspace):
    bundle = write_bundle(workspace / "bundle")
    description = json.loads((bundle / "subnet.json").read_text())
    runs = {"runtime": "pytorch", "file": "network.safetensors", "accelerator": "cpu", "threads": 1}
    (bundle / "subnet.json").write_text(json.dumps(description | {"runs": runs}))
    (bundle / "card.json").unlink()  # it states another digest of subnet.json
    Image.new("RGB", (20, 20), "green").save(workspace / "image.png")
    loaded, text = packages_after("predict", "image.png", "-b", "bundle", folder=workspace)
    assert "image.png: green" in text
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_looking_subnets_up_needs_neither_torch_nor_statistics():
    code = "import ofa_pipeline.registry, json, sys; print(json.dumps([*sys.modules]))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(finished.stdout)}
    assert loaded.isdisjoint(HEAVY | {"onnxruntime", "pyarrow"})
