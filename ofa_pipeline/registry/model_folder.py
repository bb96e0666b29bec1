"""The folder that MLflow keeps for a subnet: models-from-code around the bundle."""

import base64
import json
import warnings
from functools import cache
from importlib import metadata
from io import BytesIO
from pathlib import Path

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.plain_files import check_names, plain_files

PYFUNC_CODE = Path(__file__).with_name("pyfunc_model.py")
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow")
"""What every model needs where it runs; pinned to what it was made with.

And what the runtime of its device needs."""
INPUTS = (
    "image files, each as bytes or base64, in a list, an array or a table with the column image; "
    "or pixels from 0 to 255, uint8, of shape (N, H, W, C), (H, W, C) or (H, W), C one of 1, 3, 4"
)
"""What a model takes, for people: MLflow has no type for it."""
_EXAMPLE_PX = 8


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


@cache
def _pinned(name: str) -> str:
    """Return a requirement as a package index knows it, without what a build adds (``+cu132``)."""
    for package in (name, f"{name}-gpu"):
        try:
            return f"{package}=={metadata.version(package).partition('+')[0]}"
        except metadata.PackageNotFoundError:
            continue
    return name


def _example() -> str:
    """Return a small gray image file in base64."""
    from PIL import Image

    file = BytesIO()
    Image.new("L", (_EXAMPLE_PX, _EXAMPLE_PX), "gray").save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def write_model_folder(bundle_folder: Path, folder: Path) -> None:
    """Write an MLflow model that classifies images with a bundle.

    Args:
        bundle_folder: Copied whole into the model.
        folder: Must not exist.

    Raises:
        RegistryError: If the bundle holds more than plain files, names files elsewhere, or its
            runtime is unknown.
    """
    plain_files(bundle_folder, source=str(bundle_folder))
    check_names(bundle_folder, source=str(bundle_folder))
    with warnings.catch_warnings():
        # MLflow's own classes warn about their type hints when they are first imported.
        warnings.filterwarnings("ignore", message=".*type hint is inferred as AnyType")
        import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    # No type of MLflow is files, base64 and arrays of any shape at once, and one that is declared
    # refuses the others before the model can say what is wrong (ADR 0125).
    signature = ModelSignature(
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
        metadata={"inputs": INPUTS},
        input_example=[_example()],
        pip_requirements=requirements_of(bundle_folder),
    )
