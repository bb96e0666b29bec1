"""The folder that MLflow keeps for a subnet: models-from-code around the bundle."""

import base64
import json
import shutil
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.plain_files import check_names, plain_files
from ofa_pipeline.temporary import temporary_folder

if TYPE_CHECKING:
    from mlflow.models import Model

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
_BUNDLE = "bundle"
"""What the code of the model calls it."""
_FLAVOR = "python_function"


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
    frame = _frame(tuple(requirements_of(bundle_folder)))
    bundle = folder / frame.bundle
    shutil.copytree(bundle_folder, bundle)
    for name, content in frame.files.items():
        (folder / name).write_bytes(content)
    sizes = [path.stat().st_size for path in bundle.rglob("*") if path.is_file()]
    frame.describe(folder, source=bundle_folder, num_bytes=sum(sizes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What MLflow writes around a bundle, the same for all that need the same packages."""

    model: "Model"
    """As its file `MLmodel` describes it, around an empty bundle."""
    bundle: str
    """Where the bundle lies in the folder."""
    files: Mapping[str, bytes]
    """The other files, by name."""

    def describe(self, folder: Path, *, source: Path, num_bytes: int) -> None:
        """Write the file that describes the model, with an id and a time of its own.

        Args:
            folder: Of the model.
            source: Where the bundle was copied from.
            num_bytes: Of the bundle.
        """
        from mlflow.models import Model
        from mlflow.models.model import MLMODEL_FILE_NAME

        described = deepcopy(self.model.to_dict()) | {"model_uuid": uuid4().hex}
        del described["utc_time_created"]  # it is now
        model = Model.from_dict(described)
        model.flavors[_FLAVOR]["artifacts"][_BUNDLE]["uri"] = str(source)
        model.model_size_bytes = (self.model.model_size_bytes or 0) + num_bytes
        model.save(folder / MLMODEL_FILE_NAME)


@cache
def _frame(requirements: tuple[str, ...]) -> _Frame:
    """Have MLflow write a model around an empty bundle; see `_Frame`.

    To write each model whole would check the same packages and describe the same files again, which
    was a quarter of what a registration takes.
    """
    with warnings.catch_warnings():
        # MLflow's own classes warn about their type hints when they are first imported.
        warnings.filterwarnings("ignore", message=".*type hint is inferred as AnyType")
        import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.models.model import MLMODEL_FILE_NAME
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
    with temporary_folder("frame") as temporary:
        empty, folder = temporary / _BUNDLE, temporary / "model"
        empty.mkdir()
        (empty / "empty").touch()
        mlflow.pyfunc.save_model(
            path=folder,
            python_model=str(PYFUNC_CODE),
            artifacts={_BUNDLE: str(empty)},
            signature=signature,
            metadata={"inputs": INPUTS},
            input_example=[_example()],
            pip_requirements=list(requirements),
            # Else MLflow takes that of the current folder; uv would restore it for the model.
            uv_project_path=str(empty),
        )
        model = Model.load(str(folder))
        return _Frame(
            model=model,
            bundle=model.flavors[_FLAVOR]["artifacts"][_BUNDLE]["path"],
            files={
                path.name: path.read_bytes()
                for path in folder.iterdir()
                if path.is_file() and path.name != MLMODEL_FILE_NAME
            },
        )
