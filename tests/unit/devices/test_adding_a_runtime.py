"""A runtime is one file and one test class, as CONTRIBUTING says: here both are added to a copy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = Path("ofa_pipeline/devices/runtimes")

RUNTIME = '''"""The reference evaluator of the package onnx: numpy, one operator after the other."""

import numpy as np

from ofa_pipeline.devices.export import onnx_bytes
from ofa_pipeline.devices.runtime import FP32_TOLERANCE, Runtime


class EvaluatedNetwork:
    """An ONNX file, evaluated in numpy."""

    file_name = "evaluated.onnx"
    code_names = ()
    is_code = False

    def __init__(self, content, *, accelerator, threads, import_code):
        """Read the file."""
        import onnx
        from google.protobuf.message import DecodeError
        from onnx.reference import ReferenceEvaluator

        try:
            self._evaluator = ReferenceEvaluator(onnx.load_from_string(content))
        except DecodeError as error:
            raise ValueError(str(error)) from error

    def __call__(self, images):
        """Return the logits."""
        return self._evaluator.run(None, {"images": np.ascontiguousarray(images)})[0]

    def prepared_call(self, images):
        """Return a call with these images."""
        return lambda: self(images)

    @staticmethod
    def supports(accelerator):
        """Numpy computes on the CPU."""
        return accelerator == "cpu"


class Evaluator(Runtime):
    """The reference evaluator."""

    package = "onnx"
    requirements = ("onnx",)
    how_to_get = {"cpu": "pip install onnx"}
    tolerances = {"fp32": FP32_TOLERANCE}
    network = EvaluatedNetwork

    def content_of(self, network, *, resolution_px):
        """Return an ONNX model."""
        return onnx_bytes(network, resolution_px=resolution_px)


RUNTIME = Evaluator
'''

TESTS = """
import pytest
from typer.testing import CliRunner

from ofa_pipeline.cli import app
from ofa_pipeline.devices import build_runtime
from ofa_pipeline.params import RuntimeSettings, load_params
from ofa_pipeline.registry.model_folder import requirements_of
from ofa_pipeline.specialize import Classifier
from tests.support.registry import write_bundle
from tests.support.runtimes import RuntimeContract

SETTINGS = {"accelerator": "cpu", "precision": "fp32", "threads": 1, "batch_size": 1}


class TestEvaluator(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(RuntimeSettings(runtime="evaluator", **SETTINGS))


def test_params_name_it_where_another_is_unknown():
    known = "aotinductor, evaluator, executorch, litert, ncnn, onnxruntime, openvino, pytorch"
    with pytest.raises(ValueError, match=f"one of {known}, got 'evaluater'"):
        RuntimeSettings(runtime="evaluater", **SETTINGS)


def test_the_package_runs_its_bundle_and_pins_what_it_needs(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", runtime="evaluator")
    assert Classifier(bundle).file.name == "evaluated.onnx"
    assert any(name.startswith("onnx==") for name in requirements_of(bundle))


def test_the_doctor_looks_at_it():
    assert "runtime evaluator cpu" in CliRunner().invoke(app, ["doctor"]).output
"""


def test_one_file_and_one_test_class_add_a_runtime(tmp_path):
    shutil.copytree(
        ROOT / "ofa_pipeline",
        tmp_path / "ofa_pipeline",
        copy_function=os.symlink,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / FOLDER / "evaluator.py").write_text(RUNTIME)
    (tmp_path / "test_evaluator.py").write_text(TESTS)
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_evaluator.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout


def test_contributing_says_where():
    [row] = [
        line
        for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines()
        if line.startswith("| a runtime |")
    ]
    assert f"`{FOLDER}/`" in row
    assert "tests/unit/devices/test_runtimes.py" in row
