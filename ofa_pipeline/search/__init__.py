"""Search: the best subnets of every budget, by estimate and then by measurement."""

from ofa_pipeline.search.documents import Describer, picks_document
from ofa_pipeline.search.evolution import BRIEF, EvolutionSettings, Evolved, evolve
from ofa_pipeline.search.front import BudgetFinding, Estimates, SearchResult, search_front
from ofa_pipeline.search.guided import GuidedResult, search_guided
from ofa_pipeline.search.objectives import (
    Objective,
    Score,
    SearchProblem,
    check_budgets,
    find_cheapest,
)
from ofa_pipeline.search.pareto import hypervolume, is_efficient
from ofa_pipeline.search.population import Scored
from ofa_pipeline.search.quantized_world import QuantizedWorld
from ofa_pipeline.search.settings import evolution_settings, verify_settings
from ofa_pipeline.search.verify import (
    Knowledge,
    Pick,
    RealWorld,
    VerifiedSearch,
    VerifiedSubnet,
    VerifySettings,
    predict_verify_refit,
)
from ofa_pipeline.search.world import MeasuredWorld, load_knowledge

__all__ = [
    "BRIEF",
    "BudgetFinding",
    "Describer",
    "Estimates",
    "EvolutionSettings",
    "Evolved",
    "GuidedResult",
    "Knowledge",
    "MeasuredWorld",
    "Objective",
    "Pick",
    "QuantizedWorld",
    "RealWorld",
    "Score",
    "Scored",
    "SearchProblem",
    "SearchResult",
    "VerifiedSearch",
    "VerifiedSubnet",
    "VerifySettings",
    "check_budgets",
    "evolution_settings",
    "evolve",
    "find_cheapest",
    "hypervolume",
    "is_efficient",
    "load_knowledge",
    "picks_document",
    "predict_verify_refit",
    "search_front",
    "search_guided",
    "verify_settings",
]

OPEN_MODULES = ("ledger", "tuning")
"""What needs Optuna, which a search by estimates does not wait for."""
