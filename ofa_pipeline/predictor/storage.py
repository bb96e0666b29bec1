"""Predictors by name, and their files: arrays as npz, the rest as JSON, no pickle."""

import io
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ofa_pipeline.artifacts import Layout, write_bytes, write_json
from ofa_pipeline.documents import StoredPredictor, read_document
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.predictor.kinds import build_predictor
from ofa_pipeline.predictor.protocol import Settings, StorablePredictor

_MADE_BY = "ofa-pipeline stage fit_predictor"


def save_predictor(
    predictor: StorablePredictor, folder: Path, *, settings: Settings | None = None
) -> None:
    """Write a fitted predictor; equal predictors give equal bytes.

    Args:
        predictor: A predictor of one of `predictor_kinds`.
        folder: Where its files go.
        settings: Its settings, where they are not the default ones: it is fitted again
            with the same.

    Raises:
        ParamsError: If it was not fitted.
    """
    arrays = {name: np.asarray(array) for name, array in sorted(predictor.state().items())}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(folder / Layout.PREDICTOR_ARRAYS, buffer.getvalue())
    document = StoredPredictor(
        kind=predictor.kind,
        space=predictor.space,
        arrays=tuple(sorted(arrays)),
        settings=dict(settings) if settings else None,
    )
    write_json(folder / Layout.PREDICTOR, document.to_dict())


def load_predictor(folder: Path) -> StorablePredictor:
    """Read a predictor that `save_predictor` wrote.

    Raises:
        MissingArtifactError: If a file is not there.
        ManifestMismatchError: If a file is damaged or not a predictor.
    """
    document = read_document(folder / Layout.PREDICTOR, StoredPredictor, remake=_MADE_BY)
    path = folder / Layout.PREDICTOR_ARRAYS
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = {name: arrays[name] for name in document.arrays}
        predictor = build_predictor(
            document.space, document.kind, seed=0, settings=document.settings
        )
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{path} is missing. Produce it with: {_MADE_BY}") from error
    except (BadZipFile, KeyError, TypeError, ValueError, OSError) as error:
        raise ManifestMismatchError(
            f"{folder} does not hold a predictor ({error}). Produce it again with: {_MADE_BY}"
        ) from error
    predictor.restore(state)
    return predictor
