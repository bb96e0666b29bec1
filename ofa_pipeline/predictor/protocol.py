"""What every accuracy predictor offers, and how measured labels are checked before a fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.errors import ArchError, ParamsError

PredictorState = Mapping[str, FloatArray]
"""The fitted arrays of a predictor by name: all that its file holds."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values of a setting that are worth a try, from `low` to `high`."""

    low: float
    high: float
    is_log: bool = False
    """Whether ratios count, not differences."""
    is_whole: bool = False
    """Whether only whole numbers will do."""


Settings = Mapping[str, Any]
"""Numbers by the name of a setting of a predictor; those left out have their default."""


class AccuracyPredictor(Protocol):
    """Predicts the top-1 accuracy of subnets of one search space."""

    @property
    def kind(self) -> str:
        """Name of the method, as in params.yaml."""
        ...

    @property
    def space(self) -> SearchSpace:
        """The space whose genes it understands."""
        ...

    def fit(self, genes: Genes, accuracy: FloatArray) -> None:
        """Learn from measured subnets.

        Args:
            genes: Shape (subnets, genes).
            accuracy: Top-1 as a fraction, shape (subnets,).
        """
        ...

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the accuracy, fractions, shape (subnets,)."""
        ...


class Trace(Protocol):
    """Predictions that tell on request what other choices would change."""

    @property
    def mean(self) -> FloatArray:
        """Predicted accuracy, fractions, shape (subnets,)."""
        ...

    def slopes(self, rows: IntArray) -> FloatArray:
        """Return the derivative by each choice of each gene, shape (rows, sum of choices).

        The slope of a choice minus that of the chosen one is, to first order, what the change
        adds. Slopes of a skipped block are what its choices add once it runs.

        Args:
            rows: Which subnets.
        """
        ...


@runtime_checkable
class DifferentiablePredictor(AccuracyPredictor, Protocol):
    """A predictor that has slopes, so that a search need not try what they show to be worse."""

    def trace(self, genes: Genes) -> Trace:
        """Predict, and keep what the slopes need; for thousands of subnets at a time.

        Args:
            genes: Canonical, shape (subnets, genes).
        """
        ...


class StorablePredictor(AccuracyPredictor, Protocol):
    """A predictor whose fitted state is a set of arrays."""

    def state(self) -> PredictorState:
        """Return the fitted arrays.

        Raises:
            ParamsError: If it was not fitted.
        """
        ...

    def restore(self, state: PredictorState) -> None:
        """Take over what `state` returned."""
        ...


@dataclass(frozen=True, slots=True)
class Samples:
    """Distinct architectures with one label each."""

    genes: Genes
    accuracy: FloatArray
    repeats: FloatArray
    """How many labels each value is the mean of."""


def distinct_samples(space: SearchSpace, genes: Genes, accuracy: FloatArray) -> Samples:
    """Check labels and average those of equal architectures.

    Args:
        space: The space of the genes.
        genes: Shape (labels, genes); need not be canonical.
        accuracy: Fractions, shape (labels,).

    Raises:
        ArchError: If the genes are not of the space.
        ParamsError: If a label is not a fraction, or fewer than two architectures differ.
    """
    canonical = space.canonicalize(space.check_genes(genes))
    labels = np.asarray(accuracy, dtype=np.float64)
    if labels.shape != (len(genes),):
        raise ParamsError(
            f"there must be one accuracy an architecture, got {labels.shape} for {len(genes)}"
        )
    bad = ~np.isfinite(labels) | (labels < 0) | (labels > 1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ParamsError(
            f"accuracy must be a fraction from 0 to 1, got {labels[row]} in row {row} "
            f"({int(bad.sum())} bad rows of {len(labels)}). Remove them or divide percent by 100."
        )
    unique, inverse, counts = np.unique(canonical, axis=0, return_inverse=True, return_counts=True)
    if len(unique) <= 1:
        raise ParamsError(
            "a predictor needs at least two different architectures to learn from, got "
            f"{len(unique)} in {len(labels)} rows. Measure more subnets."
        )
    sums = np.bincount(inverse.reshape(-1), weights=labels, minlength=len(unique))
    return Samples(unique, sums / counts, counts.astype(np.float64))


def check_same_space(predictor: AccuracyPredictor, space: SearchSpace) -> None:
    """Check that a predictor understands the genes of a space.

    Raises:
        ArchError: Naming the first choices that differ.
    """
    ours, theirs = space, predictor.space
    if ours.resolutions_px != theirs.resolutions_px:
        raise ArchError(
            f"the predictor is for resolutions {theirs.resolutions_px} px, the space "
            f"{ours.space_id} has {ours.resolutions_px}. Restrict the space to the predictor's "
            "resolutions, or fit a predictor for it."
        )
    if ours.choices != theirs.choices:
        raise ArchError(
            f"the predictor is for the space {theirs.space_id} with {theirs.num_genes} genes, "
            f"not for {ours.space_id} with {ours.num_genes}: their choices differ. "
            "Fit a predictor for this space."
        )


def require_fitted(state: PredictorState | None, kind: str) -> PredictorState:
    """Return the state.

    Raises:
        ParamsError: If the predictor is not fitted.
    """
    if state is None:
        raise ParamsError(f"the {kind} predictor must be fitted before it can predict")
    return state
