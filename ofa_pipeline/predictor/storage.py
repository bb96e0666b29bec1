"""Predictors by name, and their files: arrays as npz, the rest as JSON, no pickle."""

import io
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.artifacts import read_json, write_bytes, write_json
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError, ParamsError, suggest
from ofa_pipeline.predictor.kinds.gaussian_process import GaussianProcess
from ofa_pipeline.predictor.kinds.kernel_ridge import KernelRidge
from ofa_pipeline.predictor.kinds.mlp_ensemble import GradientBoosting, MlpEnsemble
from ofa_pipeline.predictor.kinds.ridge import Ridge
from ofa_pipeline.predictor.protocol import StorablePredictor

_ARRAYS = "predictor.npz"
_DOCUMENT = "predictor.json"
_MADE_BY = "ofa-pipeline stage fit_predictor"


class _Factory(Protocol):
    def __call__(self, space: SearchSpace, *, seed: int) -> StorablePredictor: ...


PREDICTOR_KINDS: dict[str, _Factory] = {
    "gaussian_process": GaussianProcess,
    "gradient_boosting": GradientBoosting,
    "kernel_ridge": KernelRidge,
    "mlp_ensemble": MlpEnsemble,
    "ridge": Ridge,
}
"""How to build each kind of predictor, by its name in params.yaml."""


def build_predictor(space: SearchSpace, kind: str, *, seed: int) -> StorablePredictor:
    """Return an unfitted predictor.

    Args:
        space: The space of the architectures.
        kind: A key of `PREDICTOR_KINDS`.
        seed: Of whatever the method draws.

    Raises:
        ParamsError: If the kind is unknown.
    """
    if kind not in PREDICTOR_KINDS:
        raise ParamsError(f"unknown predictor kind {kind!r}.{suggest(kind, PREDICTOR_KINDS)}")
    return PREDICTOR_KINDS[kind](space, seed=seed)


def save_predictor(predictor: StorablePredictor, folder: Path) -> None:
    """Write a fitted predictor; equal predictors give equal bytes.

    Raises:
        ParamsError: If it was not fitted.
    """
    arrays = {name: np.asarray(array) for name, array in sorted(predictor.state().items())}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(folder / _ARRAYS, buffer.getvalue())
    write_json(
        folder / _DOCUMENT,
        {"kind": predictor.kind, "space": predictor.space.to_dict(), "arrays": sorted(arrays)},
    )


def load_predictor(folder: Path) -> StorablePredictor:
    """Read a predictor that `save_predictor` wrote.

    Raises:
        MissingArtifactError: If a file is not there.
        ManifestMismatchError: If a file is damaged or not a predictor.
    """
    document = read_json(folder / _DOCUMENT, made_by=_MADE_BY)
    path = folder / _ARRAYS
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = {name: arrays[name] for name in document["arrays"]}
        space = SearchSpace.from_dict(document["space"])
        predictor = PREDICTOR_KINDS[document["kind"]](space, seed=0)
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{path} is missing. Produce it with: {_MADE_BY}") from error
    except (BadZipFile, KeyError, TypeError, ValueError, OSError) as error:
        raise ManifestMismatchError(
            f"{folder} does not hold a predictor ({error}). Produce it again with: {_MADE_BY}"
        ) from error
    predictor.restore(state)
    return predictor
