"""Latency model: a few physical totals explain the latency of a whole network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.cost import latency_features
from ofa_pipeline.documents import (
    FittedLatency,
    LatencyCosts,
    LatencyModelReport,
    LatencyReport,
    read_document,
)
from ofa_pipeline.errors import DeviceError

MIN_SUBNETS = 5
NUM_FOLDS = 10
NUM_REWEIGHTINGS = 5
OUTLIER = 1.5
"""An error of more than this many typical ones is an outlier."""
SMALLEST_NOISE = 0.005
"""Relative error of a measurement, at least."""
PENALTIES = tuple(float(value) for value in np.logspace(-4, 1, 16))
"""Ridge penalties to choose from, per sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """Latency as a sum of physical totals, each with a cost that is not negative.

    More work never takes less time, so the model can be trusted to extrapolate, and a search
    cannot exploit a coefficient of the wrong sign.
    """

    space_digest: str
    num_classes: int
    costs_ms: Mapping[str, float]
    """Milliseconds a unit of each total."""
    fixed_ms: float
    """Milliseconds a call."""

    @classmethod
    def fit(
        cls, space: SearchSpace, genes: Genes, latency_ms: FloatArray, *, num_classes: int
    ) -> "LatencyModel":
        """Fit to measured subnets: non-negative, robust ridge on relative errors.

        The ridge penalty is the one with the least cross-validated error. A measurement that a
        busy machine spoiled counts less, the further it is off.

        Args:
            space: The space that the subnets are of.
            genes: Shape (subnets, genes), at least five.
            latency_ms: Measured latencies, shape (subnets,).
            num_classes: Length of the logits.

        Raises:
            DeviceError: If there are too few subnets, or a latency is not positive.
        """
        if len(genes) < MIN_SUBNETS or not (latency_ms > 0).all():
            raise DeviceError(
                f"a latency model needs at least {MIN_SUBNETS} subnets with positive latencies, "
                f"got {len(genes)}: {np.round(latency_ms, 4).tolist()}"
            )
        names, totals = latency_features(space, genes, num_classes=num_classes)
        rows = np.column_stack([np.ones(len(totals)), totals])
        errors = [_validation_error(rows, latency_ms, penalty) for penalty in PENALTIES]
        costs = _fit_robustly(rows, latency_ms, penalty=PENALTIES[int(np.argmin(errors))])
        return cls(
            space_digest=space.digest,
            num_classes=num_classes,
            costs_ms=dict(zip(names, costs[1:].tolist(), strict=True)),
            fixed_ms=float(costs[0]),
        )

    def predict(self, space: SearchSpace, genes: Genes) -> FloatArray:
        """Estimate the latency of subnets in milliseconds a call, shape (subnets,).

        Raises:
            DeviceError: If the model was fitted to another space.
        """
        if space.digest != self.space_digest:
            raise DeviceError(
                f"the latency model was fitted to a space with digest {self.space_digest}, got "
                f"{space.space_id} with {space.digest}. Run the stage profile_latency again."
            )
        names, totals = latency_features(space, genes, num_classes=self.num_classes)
        costs = np.array([self.costs_ms[name] for name in names])
        estimated: FloatArray = self.fixed_ms + totals @ costs
        return estimated


def report_errors(measured_ms: FloatArray, estimated_ms: FloatArray) -> LatencyModelReport:
    """Compare estimates with measurements; shape (subnets,) both, at least two."""
    from scipy.stats import kendalltau

    errors = np.abs(estimated_ms - measured_ms) / measured_ms
    return LatencyModelReport(
        num_subnets=len(errors),
        mape=float(errors.mean()),
        share_within_5_percent=_share_within(errors, percent=5),
        share_within_10_percent=_share_within(errors, percent=10),
        kendall_tau=float(kendalltau(measured_ms, estimated_ms).statistic),
        max_error=float(errors.max()),
    )


def _share_within(errors: FloatArray, *, percent: float) -> float:
    return float((errors <= percent / 100).mean())


def save_latency_model(model: LatencyModel, folder: Path, *, report: LatencyReport) -> None:
    """Write a model, and what is to be said about it.

    Args:
        model: Fitted.
        folder: Folder of the latency artifact.
        report: How far its estimates are off.
    """
    document = FittedLatency(model=LatencyCosts.from_dict(asdict(model)), report=report)
    write_json(folder / Layout.LATENCY_MODEL, document.to_dict())


def load_latency_model(folder: Path) -> LatencyModel:
    """Read the model of a latency artifact.

    Raises:
        MissingArtifactError: If the file is not there.
        ManifestMismatchError: If it is not a model.
    """
    remake = f"ofa-pipeline stage profile_latency --item {folder.name}"
    document = read_document(folder / Layout.LATENCY_MODEL, FittedLatency, remake=remake)
    return LatencyModel(**document.model.to_dict())


def _fit_robustly(rows: FloatArray, latency_ms: FloatArray, *, penalty: float) -> FloatArray:
    """Fit with Huber's weights: errors beyond `OUTLIER` typical ones count by their size only."""
    weights = np.ones(len(rows))
    for _ in range(NUM_REWEIGHTINGS):
        costs = _fit_costs(rows, latency_ms, weights, penalty=penalty)
        errors = np.abs(rows @ costs / latency_ms - 1)
        # The median of absolute errors, as a standard deviation; never below what is noise.
        typical = max(1.48 * float(np.median(errors)), SMALLEST_NOISE)
        weights = np.minimum(1, OUTLIER * typical / np.maximum(errors, 1e-12))
    return _fit_costs(rows, latency_ms, weights, penalty=penalty)


def _fit_costs(
    rows: FloatArray, latency_ms: FloatArray, weights: FloatArray, *, penalty: float
) -> FloatArray:
    """Solve for non-negative costs that minimise squared relative errors plus a ridge penalty.

    Totals are scaled to the same size first, so that the penalty treats them alike; the fixed
    cost, column 0, is not penalised.
    """
    from scipy.optimize import nnls

    relative = rows / latency_ms[:, None]
    scale = np.sqrt((relative**2).mean(axis=0))
    scale[scale == 0] = 1
    ridge = np.sqrt(penalty * len(rows)) * np.eye(rows.shape[1])[1:]
    root = np.sqrt(weights)
    system = np.concatenate([root[:, None] * relative / scale, ridge])
    target = np.concatenate([root, np.zeros(len(ridge))])
    solution: FloatArray = nnls(system, target)[0] / scale
    return solution


def _validation_error(rows: FloatArray, latency_ms: FloatArray, penalty: float) -> float:
    """Return the mean absolute relative error of leave-some-out cross-validation."""
    folds = np.arange(len(rows)) % min(len(rows), NUM_FOLDS)
    errors = np.empty(len(rows))
    for fold in range(folds.max() + 1):
        kept = folds != fold
        costs = _fit_costs(rows[kept], latency_ms[kept], np.ones(kept.sum()), penalty=penalty)
        errors[~kept] = rows[~kept] @ costs / latency_ms[~kept] - 1
    return float(np.abs(errors).mean())
