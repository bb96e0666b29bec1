"""The code of a registered model: MLflow copies this file into the model and runs it there.

It needs the bundle beside it, MLflow, numpy and the runtime of the bundle's device, and nothing of
this package.
"""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class SubnetModel(PythonModel):
    """Classifies images with the file of the bundle that was measured."""

    def load_context(self, context: Any) -> None:  # noqa: ANN401 - mlflow's PythonModelContext
        """Load the network; the bundle brings the code that does it.

        Raises:
            ValueError: If a file was changed after it was registered. The code is compared here,
                before it runs; it compares the others.
        """
        folder = Path(context.artifacts["bundle"])
        _check_code(folder)
        spec = importlib.util.spec_from_file_location("ofa_subnet_classify", folder / "classify.py")
        if spec is None or spec.loader is None:
            raise ImportError(f"{folder / 'classify.py'} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._classifier = module.Classifier(folder)

    def predict(
        self,
        context: Any,  # noqa: ANN401, ARG002 - mlflow's signature
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - mlflow's signature
    ) -> pd.DataFrame:
        """Classify uint8 images of shape (N, H, W, 3), any size.

        Returns:
            One row an image: ``label``, ``class_name``, ``probability``, and ``probabilities``
            of all classes.
        """
        probabilities = self._classifier.predict(np.asarray(model_input))
        labels = probabilities.argmax(axis=1)
        names = self._classifier.class_names
        return pd.DataFrame(
            {
                "label": labels.astype(np.int64),
                "class_name": [names[label] for label in labels],
                "probability": probabilities.max(axis=1).astype(np.float64),
                "probabilities": [row.tolist() for row in probabilities.astype(np.float64)],
            }
        )


def _check_code(folder: Path) -> None:
    try:
        stated = json.loads((folder / "card.json").read_text()).get("files", {})
    except FileNotFoundError:
        return  # not a bundle of the pipeline: nothing to compare with
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / 'card.json'} must be a JSON object: {error}") from error
    found = hashlib.sha256((folder / "classify.py").read_bytes()).hexdigest()
    if stated.get("classify.py", found) != found:
        raise ValueError(
            f"{folder / 'classify.py'} was changed after it was registered: its SHA-256 must "
            f"begin {stated['classify.py'][:12]}, found {found[:12]}. Restore the registry's files"
        )


set_model(SubnetModel())
