"""Subnets as latency models see them, and what estimates them."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray, Genes, SearchSpace
from ofa_pipeline.cost import latency_features
from ofa_pipeline.documents import LatencyResidual
from ofa_pipeline.latency.fitting import typical_error
from ofa_pipeline.latency.forms import Form, Measurements, launch_rows, load_a_layer
from ofa_pipeline.latency.residual import ResidualInputs, fit_residual, relative_correction


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnets:
    """Totals of subnets; latencies are not numbers where they are to be estimated."""

    names: tuple[str, ...]
    """Of the totals, ``fixed`` first, which is 1."""
    measurements: Measurements
    group_totals: FloatArray | None
    """Totals by block group, shape (subnets, totals), where they are needed."""

    @classmethod
    def of(
        cls,
        space: SearchSpace,
        genes: Genes,
        latency_ms: FloatArray | None = None,
        *,
        num_classes: int,
        with_groups: bool,
        tiles_px: Collection[int],
    ) -> "Subnets":
        """Count the totals of architectures, in tiles of some sizes; with groups, 1 is among them.

        What does not depend on the size is the same for each.
        """
        rows = {}
        for tile_px in tiles_px:
            names, totals = latency_features(space, genes, num_classes=num_classes, tile_px=tile_px)
            rows[tile_px] = np.column_stack([np.ones(len(totals)), totals])
        groups = None
        if with_groups:
            _, groups = latency_features(space, genes, num_classes=num_classes, by_group=True)
        return cls(
            names=("fixed", *names),
            measurements=Measurements(
                rows=rows,
                launch_rows=launch_rows(names, totals),
                load=load_a_layer(names, totals),
                latency_ms=np.full(len(totals), np.nan) if latency_ms is None else latency_ms,
            ),
            group_totals=groups,
        )

    def of_some(self, chosen: BoolArray) -> "Subnets":
        """Return some of the subnets."""
        return Subnets(
            names=self.names,
            measurements=self.measurements.of(chosen),
            group_totals=None if self.group_totals is None else self.group_totals[chosen],
        )

    def residual_inputs(self, estimated_ms: FloatArray) -> ResidualInputs:
        """Return what a residual is learned from and estimated by."""
        assert self.group_totals is not None
        return ResidualInputs(
            totals=self.measurements.rows[1][:, 1:],
            group_totals=self.group_totals,
            estimated_ms=estimated_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """A form, and the correction of what it leaves."""

    form: Form
    residual: LatencyResidual | None

    @classmethod
    def fit(cls, form: Form, subnets: Subnets) -> "Estimator":
        """Learn the residual of a form that was fitted to the same subnets."""
        if subnets.group_totals is None:
            return cls(form=form, residual=None)
        data = subnets.measurements
        estimated = form.estimate(data)
        errors = data.latency_ms / estimated - 1
        kept = ~form.is_outlier & ~form.is_launch_bound(data)
        residual = fit_residual(
            subnets.of_some(kept).residual_inputs(estimated[kept]),
            data.latency_ms[kept],
            typical=typical_error(errors[kept]),
        )
        return cls(form=form, residual=residual)

    def estimate(self, subnets: Subnets) -> FloatArray:
        """Return milliseconds of subnets."""
        estimated = self.form.estimate(subnets.measurements)
        if self.residual is None:
            return estimated
        return estimated * (
            1 + relative_correction(self.residual, subnets.residual_inputs(estimated))
        )
