"""The folder that MLflow keeps for a subnet: models-from-code around the bundle."""

import warnings
from importlib import metadata
from pathlib import Path

PYFUNC_CODE = Path(__file__).with_name("pyfunc_model.py")
REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow")
"""What the model needs where it runs; pinned to what it was made with."""


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
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
    )
