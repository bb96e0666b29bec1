"""The folder that MLflow keeps for a subnet: models-from-code around the bundle."""

import json
import warnings
from importlib import metadata
from pathlib import Path

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import RegistryError

PYFUNC_CODE = Path(__file__).with_name("pyfunc_model.py")
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow")
"""What every model needs where it runs; pinned to what it was made with.

And what the runtime of its device needs."""


def requirements_of(bundle_folder: Path) -> list[str]:
    """Return the pinned packages that a bundle's model needs.

    Args:
        bundle_folder: Says in ``subnet.json`` what runs it; ONNX Runtime where it says nothing.

    Raises:
        RegistryError: If its runtime is unknown.
    """
    from ofa_pipeline.devices import FIRST_RUNTIME, find_runtime, runtime_names

    subnet = json.loads((bundle_folder / Layout.SUBNET).read_text())
    runtime = subnet.get("runs", {}).get("runtime", FIRST_RUNTIME)
    if runtime not in runtime_names():
        raise RegistryError(
            f"{bundle_folder / Layout.SUBNET} must name one of the runtimes "
            f"{', '.join(runtime_names())}, found {runtime!r}. Run the stage specialize again."
        )
    return [_pinned(name) for name in sorted((*REQUIREMENTS, *find_runtime(runtime).requirements))]


def _pinned(name: str) -> str:
    """Return a requirement as a package index knows it, without what a build adds (``+cu132``)."""
    for package in (name, f"{name}-gpu"):
        try:
            return f"{package}=={metadata.version(package).partition('+')[0]}"
        except metadata.PackageNotFoundError:
            continue
    return name


def write_model_folder(bundle_folder: Path, folder: Path) -> None:
    """Write an MLflow model that classifies images with a bundle.

    Args:
        bundle_folder: Copied whole into the model.
        folder: Must not exist.
    """
    import numpy as np

    with warnings.catch_warnings():
        # MLflow's own classes warn about their type hints when they are first imported.
        warnings.filterwarnings("ignore", message=".*type hint is inferred as AnyType")
        import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
        outputs=Schema(
            [
                ColSpec(DataType.long, "label"),
                ColSpec(DataType.string, "class_name"),
                ColSpec(DataType.double, "probability"),
                ColSpec(Array(DataType.double), "probabilities"),
            ]
        ),
    )
    mlflow.pyfunc.save_model(
        path=folder,
        python_model=str(PYFUNC_CODE),
        artifacts={"bundle": str(bundle_folder)},
        signature=signature,
        input_example=np.zeros((1, 8, 8, 3), dtype=np.uint8),
        pip_requirements=requirements_of(bundle_folder),
    )
