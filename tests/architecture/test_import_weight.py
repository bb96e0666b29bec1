"""What an import costs: the light modules stay light, in a fresh interpreter each.

Import contracts cannot say this, because they also see the imports inside functions.
"""

import json
import subprocess
import sys

import pytest

WITHOUT_TORCH = (
    *("arch", "spaces", "cost", "params", "tables", "documents", "predictor", "search"),
    "service",
    *("reference.zoo", "reference.offline"),
)
TRAINING_NEEDS_NONE_OF = ("prefect", "mlflow", "dvc", "torchvision", "optuna", "pandas", "sklearn")

# Imports the named modules with all their submodules; prints the top-level packages then loaded.
PROBE = """
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), name + "."):
        importlib.import_module(found.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def packages_loaded_by(*modules: str) -> set[str]:
    finished = subprocess.run(
        [sys.executable, "-c", PROBE, *modules], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return set(json.loads(finished.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_module_does_not_import_torch(name):
    assert "torch" not in packages_loaded_by(f"ofa_pipeline.{name}")


def test_listing_the_source_is_light():
    """Each `dvc repro` and each run does it: it must not wait for torch, nor for tables."""
    loaded = packages_loaded_by("ofa_pipeline.cli.pipeline", "ofa_pipeline.stages.list_source")
    assert loaded.isdisjoint({"torch", "pyarrow", "numpy", *TRAINING_NEEDS_NONE_OF})


def test_training_needs_no_orchestration_stack():
    loaded = packages_loaded_by("ofa_pipeline.supernet", "ofa_pipeline.training")
    assert loaded.isdisjoint({"pydantic", *TRAINING_NEEDS_NONE_OF})
