"""Latency model: a few physical totals explain the latency of a whole network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, SearchSpace
from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.documents import (
    FittedLatency,
    LatencyCosts,
    LatencyReport,
    LatencyResidual,
    LaunchCosts,
    PredictionInterval,
    read_document,
)
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.latency.forms import Form
from ofa_pipeline.latency.subnets import Estimator, Subnets


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """Latency as a sum of physical totals, each with a cost that is not negative.

    More work never takes less time, so the model can be trusted to extrapolate, and a search
    cannot exploit a coefficient of the wrong sign. Where launching the layers takes longer than
    the work, that is the latency; what the sum leaves unexplained is corrected within a limit.
    """

    space_digest: str
    num_classes: int
    costs_ms: Mapping[str, float]
    """Milliseconds a unit of each total."""
    fixed_ms: float
    """Milliseconds a call."""
    tile_px: int = 1
    """Pixels that convolutions compute at once: the totals are those of whole tiles."""
    form: str = "totals"
    """The candidate that cross-validation chose."""
    launch: LaunchCosts | None = None
    residual: LatencyResidual | None = None
    interval: PredictionInterval | None = None
    """None for models that an earlier version fitted."""

    def predict(self, space: SearchSpace, genes: Genes) -> FloatArray:
        """Estimate the latency of subnets in milliseconds a call, shape (subnets,).

        Raises:
            DeviceError: If the model was fitted to another space.
        """
        self._check_space(space)
        with_groups = self.residual is not None
        subnets = Subnets.of(
            space,
            genes,
            num_classes=self.num_classes,
            with_groups=with_groups,
            tiles_px={1, self.tile_px} if with_groups else {self.tile_px},
        )
        estimator = Estimator(form=self._form(subnets.names), residual=self.residual)
        return estimator.estimate(subnets)

    def bounds(self, space: SearchSpace, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the prediction interval in milliseconds, shape (subnets,) each.

        Raises:
            DeviceError: If the model was fitted to another space, or has no interval.
        """
        if self.interval is None:
            raise DeviceError(
                "the latency model has no prediction interval: an earlier version fitted it. Run "
                "the stage profile_latency again."
            )
        estimated = self.predict(space, genes)
        return estimated * (1 + self.interval.low), estimated * (1 + self.interval.high)

    def form_of(
        self, space: SearchSpace, names: Sequence[str], *, num_classes: int, device: str
    ) -> Form:
        """Return the costs of the named totals, for a model of another device to start from.

        Args:
            space: The space of the other device's subnets.
            names: ``fixed`` and the totals.
            num_classes: Length of the logits there.
            device: Name of this model's device, for messages.

        Raises:
            DeviceError: If the model is of another space or number of classes.
        """
        if (space.digest, num_classes) != (self.space_digest, self.num_classes):
            raise DeviceError(
                f"the latency of a device can be transferred within a space: {device} was "
                f"profiled for a space with digest {self.space_digest} and {self.num_classes} "
                f"classes, the new device is for {space.space_id} with {space.digest} and "
                f"{num_classes}. Profile {device} for this space, or transfer from another device."
            )
        return self._form(names)

    def _form(self, names: Sequence[str]) -> Form:
        launch = None
        if self.launch is not None:
            costs = self.launch.costs_ms
            launch = np.array([costs["num_layers"], self.launch.fixed_ms, costs["num_blocks"]])
        costs_ms = {"fixed": self.fixed_ms, **self.costs_ms}
        # An earlier version knew fewer totals: what it did not know has no cost.
        work = np.array([costs_ms.get(name, 0.0) for name in names])
        return Form(
            work=work, tile_px=self.tile_px, launch=launch, is_outlier=np.zeros(0, dtype=bool)
        )

    def _check_space(self, space: SearchSpace) -> None:
        if space.digest != self.space_digest:
            raise DeviceError(
                f"the latency model was fitted to a space with digest {self.space_digest}, got "
                f"{space.space_id} with {space.digest}. Run the stage profile_latency again."
            )


def save_latency_model(model: LatencyModel, folder: Path, *, report: LatencyReport) -> None:
    """Write a model, and what is to be said about it.

    Args:
        model: Fitted.
        folder: Folder of the latency artifact.
        report: How far its estimates are off.
    """
    costs = LatencyCosts(
        space_digest=model.space_digest,
        num_classes=model.num_classes,
        costs_ms=dict(model.costs_ms),
        fixed_ms=model.fixed_ms,
        tile_px=model.tile_px,
        form=model.form,
        launch=model.launch,
        residual=model.residual,
        interval=model.interval,
    )
    document = FittedLatency(format=2 if model.tile_px == 1 else 3, model=costs, report=report)
    write_json(folder / Layout.LATENCY_MODEL, document.to_dict())


def load_latency_model(folder: Path) -> LatencyModel:
    """Read the model of a latency artifact.

    Raises:
        MissingArtifactError: If the file is not there.
        ManifestMismatchError: If it is not a model.
    """
    remake = f"ofa-pipeline stage profile_latency --item {folder.name}"
    costs = read_document(folder / Layout.LATENCY_MODEL, FittedLatency, remake=remake).model
    return LatencyModel(
        space_digest=costs.space_digest,
        num_classes=costs.num_classes,
        costs_ms=costs.costs_ms,
        fixed_ms=costs.fixed_ms,
        tile_px=costs.tile_px,
        form=costs.form,
        launch=costs.launch,
        residual=costs.residual,
        interval=costs.interval,
    )
