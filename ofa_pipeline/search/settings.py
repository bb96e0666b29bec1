"""How to search and how much to verify, from the section of params.yaml."""

from typing import TYPE_CHECKING

from ofa_pipeline.documents import PredictionInterval
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.search.evolution import EvolutionSettings
from ofa_pipeline.search.samplers import build_sampler
from ofa_pipeline.search.verify import VerifySettings

if TYPE_CHECKING:
    from ofa_pipeline.params import SearchParams

NOISE_MARGIN = 0.03
"""Share of the budget that ``latency_margin: auto`` keeps free by measurement."""
_ESTIMATE_MARGINS = (0.01, 0.2)
"""The least and the most that it keeps free by estimate."""
_ISLANDS = 2  # each of a quarter of the generations and half the population


def verify_settings(
    search: "SearchParams", *, accuracy_noise: float, interval: PredictionInterval | None
) -> VerifySettings:
    """Return how much to verify.

    Args:
        search: The section of params.yaml.
        accuracy_noise: Standard deviation of a measured accuracy, a fraction.
        interval: How far the latency model may be off; with ``latency_margin: auto``, an estimate
            is within a budget where the upper end of its interval is.

    Raises:
        DeviceError: If the margin is ``auto`` and an earlier version fitted the latency model.
    """
    margin, estimate_margin = search.latency_margin, None
    if margin == "auto":
        margin, estimate_margin = NOISE_MARGIN, _estimate_margin(interval)
    return VerifySettings(
        top_k=search.verify_top_k,
        max_rounds=search.max_rounds,
        latency_margin=margin,
        estimate_margin=estimate_margin,
        accuracy_noise=accuracy_noise,
        sampler=build_sampler(search.sampler),
    )


def _estimate_margin(interval: PredictionInterval | None) -> float:
    if interval is None:
        raise DeviceError(
            "search.latency_margin: auto needs a latency model with a prediction interval; an "
            "earlier version fitted this one. Run the stage profile_latency again."
        )
    least, most = _ESTIMATE_MARGINS
    return min(max(1 - 1 / (1 + interval.high), least), most)


def evolution_settings(search: "SearchParams") -> EvolutionSettings:
    """Return how long and how broadly to search."""
    return EvolutionSettings(
        population=search.population,
        generations=search.generations,
        islands=_ISLANDS,
        island_generations=max(1, search.generations // 4),
        island_population=search.population // 2,
        seed=search.seed,
    )
