"""The sections of what is measured, predicted and searched."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ofa_pipeline.params.values import Count, Section, Seed, part_of

MIN_SUBNETS, MIN_MEASURED, MIN_HOLDOUT = 10, 10, 5
"""Fewest subnets: to fit a model of accuracy, a model of latency, and to check the latter on."""


class EvaluationParams(Section):
    """How a subnet's accuracy is measured."""

    calibration_images: Count
    batch_size: Count
    threads: Count


class AccuracyParams(Section):
    """The initial design of measured subnets."""

    num_subnets: Annotated[int, Field(ge=MIN_SUBNETS, le=10**6)]
    num_noise_repeats: Annotated[int, Field(ge=2, le=10**9)]
    seed: Seed


class PredictorParams(Section):
    """The accuracy predictor."""

    kind: Annotated[str, AfterValidator(part_of("predictor/kinds", or_else="auto"))]
    """A file of `ofa_pipeline.predictor.kinds`; ``auto``: chosen among some of them."""
    tune: bool = False
    """Whether to tune the settings of the kind, or of the kinds that ``auto`` chooses among."""
    cross_validation_folds: Annotated[int, Field(ge=2, le=10**9)]
    seed: Seed


class LatencyParams(Section):
    """How latency is measured and modelled."""

    num_subnets: Annotated[int, Field(ge=MIN_MEASURED, le=10**6)]
    num_holdout: Annotated[int, Field(ge=MIN_HOLDOUT, le=10**9)]
    warmup_runs: Count
    timed_runs: Annotated[int, Field(ge=10, le=10**9)]
    seed: Seed


class SearchParams(Section):
    """Search for the Pareto front and its verification."""

    population: Annotated[int, Field(ge=16, le=10**6)]
    generations: Count
    verify_top_k: Count
    max_rounds: Count
    latency_margin: Annotated[float, Field(ge=0, lt=0.5)] | Literal["auto"]
    """Of the budget, kept free; ``auto``: by estimate as much as the latency model may be off."""
    sampler: Annotated[str, AfterValidator(part_of("search/samplers"))] = "ours"
    """Proposes the subnets to verify: a file of `ofa_pipeline.search.samplers`."""
    seed: Seed
