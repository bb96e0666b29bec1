"""Accuracy and latency from files: saved predictors, look-up tables, tables of measurements."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace, resolution_values_px
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import ArchError, ParamsError
from ofa_pipeline.latency import LatencyModel, fit_latency, load_latency_model
from ofa_pipeline.predictor import (
    AccuracyPredictor,
    DifferentiablePredictor,
    Trace,
    build_predictor,
    choose_predictor,
    labeled_subnets,
    load_predictor,
    validate_kinds,
)
from ofa_pipeline.reference.lookup_table import (
    FILE_NAME,
    LookupTableModel,
    read_lookup_table,
    read_lookup_tables,
)
from ofa_pipeline.reference.official_predictor import load_official_predictor
from ofa_pipeline.reference.offline.measured import read_column, read_measured_table
from ofa_pipeline.search import Estimates, Score
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space

_FOLDS = 5
_COSTLY_KINDS = ("kernel_ridge", "gaussian_process", "gradient_boosting")
_NUM_CLASSES = 1000  # ImageNet's: tables of measurements are about the published networks


@dataclass(frozen=True, slots=True)
class AccuracySource:
    """A predictor, and the resolutions that it can predict for."""

    predictor: AccuracyPredictor
    resolutions_px: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LatencySource:
    """A latency model for a space with some of its resolutions left out."""

    build: Callable[[SearchSpace], Score]
    resolutions_px: tuple[int, ...]


def load_estimates(
    space_id: str,
    *,
    accuracy: Path,
    latency: Path,
    latency_column: str | None = None,
    seed: int = 0,
) -> Estimates:
    """Read accuracy and latency, for the resolutions that both cover.

    Args:
        space_id: A reference supernet, or the id of the space that the predictor was saved with.
        accuracy: A folder of a saved predictor, a published ``.pth`` predictor, or a Parquet table
            with the columns ``ks``, ``e``, ``d``, ``image_size`` and ``top1``.
        latency: A folder of look-up tables, a look-up table called ``224_lookup_table.yaml``, a
            latency artifact, or a Parquet table with the first four of these columns.
        latency_column: The table's column of latencies in milliseconds; needed where it has more
            than one column beside the architecture's.
        seed: Seed of the predictor that is fitted to a table.

    Raises:
        ParamsError: If a file is missing or of an unknown kind, or the two have no resolution in
            common.
        ArchError: If the predictor is of another space.
    """
    known = _accuracy(space_id, accuracy, seed)
    space = known.predictor.space
    timed = _latency(space, latency, latency_column)
    common = tuple(r for r in known.resolutions_px if r in timed.resolutions_px)
    if not common:
        raise ParamsError(
            f"{accuracy} knows {known.resolutions_px} px and {latency} {timed.resolutions_px} px: "
            "they have no resolution in common"
        )
    searched = replace(space, resolutions_px=common)
    within = _Within(known.predictor, searched)
    return Estimates(
        searched,
        within.predict,
        timed.build(searched),
        trace=within.trace if isinstance(known.predictor, DifferentiablePredictor) else None,
        is_costly=known.predictor.kind in _COSTLY_KINDS,
    )


class _Within:
    """A predictor for genes of a space with fewer resolutions."""

    def __init__(self, predictor: AccuracyPredictor, searched: SearchSpace) -> None:
        own = predictor.space
        self._predictor = predictor
        self._translated = _translation(searched, own)
        others = np.arange(len(own.resolutions_px), int(own.num_choices.sum()))
        self._choices = np.concatenate([_resolutions_in(own, searched), others])

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        return self._predictor.predict(self._translated(genes))

    def trace(self, genes: Genes) -> Trace:
        assert isinstance(self._predictor, DifferentiablePredictor)
        return _TraceWithin(self._predictor.trace(self._translated(genes)), self._choices)


def _translation(searched: SearchSpace, whole: SearchSpace) -> Callable[[Genes], Genes]:
    """Return what turns genes of a space with fewer resolutions into those of the whole space."""
    index, column = _resolutions_in(whole, searched), whole.columns["resolution"]

    def translate(genes: Genes) -> Genes:
        translated = genes.copy()
        translated[:, column] = index[genes[:, column]]
        return translated

    return translate


def _resolutions_in(whole: SearchSpace, searched: SearchSpace) -> Genes:
    places = [whole.resolutions_px.index(px) for px in searched.resolutions_px]
    return np.array(places, dtype=np.int8)


@dataclass(frozen=True, slots=True)
class _TraceWithin:
    """A trace without the slopes of the resolutions that are not searched."""

    whole: Trace
    choices: IntArray

    @property
    def mean(self) -> FloatArray:
        return self.whole.mean

    def slopes(self, rows: IntArray) -> FloatArray:
        return self.whole.slopes(rows)[:, self.choices]


def _accuracy(space_id: str, path: Path, seed: int) -> AccuracySource:
    if path.is_dir():
        predictor: AccuracyPredictor = load_predictor(path)
    elif path.suffix == ".pth":
        predictor = load_official_predictor(path)
    elif path.suffix == ".parquet":
        return _fitted(_space(space_id), path, seed)
    else:
        raise ParamsError(
            f"--accuracy must be a folder of a saved predictor, a .pth file or a .parquet table, "
            f"got {path}{'' if path.exists() else ', which does not exist'}"
        )
    if predictor.space.space_id != space_id:
        raise ArchError(
            f"{path} predicts for {predictor.space.space_id}, not for {space_id}. Give the space "
            "of the predictor, or another predictor."
        )
    return AccuracySource(predictor, predictor.space.resolutions_px)


def _fitted(space: SearchSpace, path: Path, seed: int) -> AccuracySource:
    """Fit the best kind of predictor to a table of measured accuracies."""
    table = read_measured_table(path, space)
    measured = sorted(set(resolution_values_px(space, table.genes).tolist()))
    subnets = labeled_subnets(space, table.genes, table.accuracy, cost=table.macs)
    validations = validate_kinds(subnets, "auto", folds=_FOLDS, seed=seed)
    kind = choose_predictor(validations, label_noise=table.label_noise).kind
    predictor = build_predictor(space, kind, seed=seed)
    predictor.fit(subnets.genes, subnets.accuracy)
    return AccuracySource(predictor, tuple(measured))


def _latency(space: SearchSpace, path: Path, column: str | None) -> LatencySource:
    if path.is_dir() and (path / Layout.LATENCY_MODEL).exists():
        model = load_latency_model(path)
        return _artifact(model, space)
    if path.is_dir() or FILE_NAME.fullmatch(path.name):
        tables = (
            read_lookup_tables(path)
            if path.is_dir()
            else {int(path.name.partition("_")[0]): read_lookup_table(path)}
        )
        return LatencySource(
            lambda searched: LookupTableModel(searched, tables, num_classes=_NUM_CLASSES),
            tuple(tables),
        )
    if path.suffix == ".parquet":
        return _measured_latency(space, path, column)
    raise ParamsError(
        f"--latency must be a folder of look-up tables or a latency artifact, a "
        f"RESOLUTION_lookup_table.yaml or a .parquet table, got {path}"
        f"{'' if path.exists() else ', which does not exist'}"
    )


def _artifact(model: LatencyModel, space: SearchSpace) -> LatencySource:
    def build(searched: SearchSpace) -> Score:
        translated = _translation(searched, space)
        return lambda genes: model.predict(space, translated(genes))

    return LatencySource(build, space.resolutions_px)


def _measured_latency(space: SearchSpace, path: Path, column: str | None) -> LatencySource:
    genes, latency_ms = read_column(path, space, column=column, quantity="latency_ms")
    model = fit_latency(space, genes, latency_ms, num_classes=_NUM_CLASSES).model
    measured = sorted(set(resolution_values_px(space, genes).tolist()))
    return LatencySource(_artifact(model, space).build, tuple(measured))


def _space(space_id: str) -> SearchSpace:
    if space_id not in REFERENCE_SPACES:
        raise ParamsError(
            f"a table of measurements needs --space to be a reference supernet "
            f"({', '.join(REFERENCE_SPACES)}), got {space_id!r}"
        )
    return reference_space(space_id)
