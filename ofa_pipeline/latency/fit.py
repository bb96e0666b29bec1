"""Fits the latency model of a device: its form, what the form leaves, and how far it may be off."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ofa_pipeline.arch import BoolArray, FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.documents import LaunchCosts, PredictionInterval
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.latency.candidates import NUM_FOLDS, TILES_PX, Choice, choose_form
from ofa_pipeline.latency.fitting import MIN_SUBNETS
from ofa_pipeline.latency.forms import Candidate
from ofa_pipeline.latency.model import LatencyModel
from ofa_pipeline.latency.residual import MIN_SUBNETS as MIN_RESIDUAL
from ofa_pipeline.latency.subnets import Estimator, Subnets

COVERAGE = 0.9
"""Of the prediction interval."""
_NUM_LISTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyFit:
    """A fitted model, and what fitting it showed."""

    model: LatencyModel
    genes: Genes
    """The subnets, each once."""
    latency_ms: FloatArray
    choice: Choice
    is_launch_bound: BoolArray
    """Of the subnets."""


def fit_latency(
    space: SearchSpace,
    genes: Genes,
    latency_ms: FloatArray,
    *,
    num_classes: int,
    sources: Mapping[str, LatencyModel] | None = None,
) -> LatencyFit:
    """Fit to measured subnets, by relative errors.

    Candidates are compared by cross-validation: a sum of totals with costs that are not negative;
    the same of whole tiles of pixels, as some devices compute convolutions; the larger of a sum and
    of launching a layer after the other; the same with the costs of another device, times a factor
    a component, as a start. A Gaussian process corrects the result where there are enough subnets
    and it helps. Measurements that are far off are set aside.

    Args:
        space: The space that the subnets are of.
        genes: Shape (subnets, genes), at least five different ones; one that is given several
            times counts once, with the median of its latencies.
        latency_ms: Measured latencies, shape (subnets,).
        num_classes: Length of the logits.
        sources: Models of other devices, by name: the closest is transferred from, if that helps.

    Raises:
        DeviceError: If there are too few subnets, a latency is not a positive number, or a source
            is of another space or number of classes.
    """
    _check_latencies(latency_ms)
    genes, latency_ms = _each_once(space, genes, latency_ms)
    _check_number(len(genes))
    sources = sources or {}
    subnets = Subnets.of(
        space,
        genes,
        latency_ms,
        num_classes=num_classes,
        with_groups=len(genes) >= MIN_RESIDUAL,
        tiles_px={1, *TILES_PX, *(source.tile_px for source in sources.values())},
    )
    forms = {
        name: source.form_of(space, subnets.names, num_classes=num_classes, device=name)
        for name, source in sources.items()
    }
    choice = choose_form(subnets.measurements, subnets.names, sources=forms)
    estimator = Estimator.fit(choice.form, subnets)
    held_out_ms = choice.held_out_ms
    if estimator.residual is not None:
        held_out_ms = _held_out_estimates(choice.candidate, subnets)
    errors = latency_ms / held_out_ms - 1
    return LatencyFit(
        model=_model(space, subnets, estimator, choice, errors=errors, num_classes=num_classes),
        genes=genes,
        latency_ms=latency_ms,
        choice=choice,
        is_launch_bound=choice.form.is_launch_bound(subnets.measurements),
    )


def _model(
    space: SearchSpace,
    subnets: Subnets,
    estimator: Estimator,
    choice: Choice,
    *,
    errors: FloatArray,
    num_classes: int,
) -> LatencyModel:
    form = choice.form
    fixed_ms, *costs_ms = form.work.tolist()
    return LatencyModel(
        space_digest=space.digest,
        num_classes=num_classes,
        costs_ms=dict(zip(subnets.names[1:], costs_ms, strict=True)),
        fixed_ms=fixed_ms,
        tile_px=form.tile_px,
        form=choice.candidate.name,
        launch=_launch_costs(form.launch),
        residual=estimator.residual,
        interval=prediction_interval(errors),
    )


def prediction_interval(errors: FloatArray) -> PredictionInterval:
    """Return where a measurement lies with `COVERAGE`, by the errors of held-out estimates.

    With few errors, the outermost of them. Source: conformal prediction by cross-validation
    (Barber et al. 2021, arXiv:1905.02928), without its guarantee: the subnets that were measured
    are chosen, and farther out than those that are searched.

    Args:
        errors: Measured over estimated, less one.
    """
    rank = min(math.ceil((len(errors) + 1) * (1 + COVERAGE) / 2), len(errors))
    ascending = np.sort(errors)
    return PredictionInterval(
        coverage=COVERAGE,
        low=min(float(ascending[-rank]), 0.0),
        high=max(float(ascending[rank - 1]), 0.0),
    )


def _held_out_estimates(candidate: Candidate, subnets: Subnets) -> FloatArray:
    count = len(subnets.measurements.latency_ms)
    folds = np.arange(count) % NUM_FOLDS
    estimated = np.empty(count)
    for fold in range(NUM_FOLDS):
        kept = subnets.of_some(folds != fold)
        form = candidate.fit(kept.measurements)
        estimated[folds == fold] = Estimator.fit(form, kept).estimate(
            subnets.of_some(folds == fold)
        )
    return estimated


def _launch_costs(launch: FloatArray | None) -> LaunchCosts | None:
    if launch is None:
        return None
    layers, fixed, blocks = launch.tolist()
    return LaunchCosts(costs_ms={"num_layers": layers, "num_blocks": blocks}, fixed_ms=fixed)


def _check_latencies(latency_ms: FloatArray) -> None:
    bad = np.flatnonzero(~(np.isfinite(latency_ms) & (latency_ms > 0)))
    if len(bad):
        listed = ", ".join(f"{latency_ms[row]:g} of subnet {row}" for row in bad[:_NUM_LISTED])
        raise DeviceError(
            f"measured latencies must be positive numbers, got {listed} ({len(bad)} of "
            f"{len(latency_ms)}). Measure these subnets again, or leave them out."
        )


def _check_number(count: int) -> None:
    if count < MIN_SUBNETS:
        raise DeviceError(
            f"a latency model needs at least {MIN_SUBNETS} different subnets, got {count}. "
            "Measure more."
        )


def _each_once(
    space: SearchSpace, genes: Genes, latency_ms: FloatArray
) -> tuple[Genes, FloatArray]:
    """Return different architectures in the order of their first measurement."""
    canonical = space.canonicalize(genes)
    _, first, inverse = np.unique(canonical, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(genes):
        return canonical, latency_ms
    order: IntArray = np.argsort(first)
    medians = [float(np.median(latency_ms[inverse.reshape(-1) == index])) for index in order]
    return canonical[first[order]], np.array(medians)
