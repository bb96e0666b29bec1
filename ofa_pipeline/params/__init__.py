"""Typed params.yaml: the only reader of the file.

Every section is a frozen model that refuses unknown names. A stage is given the sections that
`ofa_pipeline.stages.STAGES` declares for it, and DVC tracks the same ones.
"""

from ofa_pipeline.params.dataset import ANY_DATASET
from ofa_pipeline.params.delivery import SpecializeParams
from ofa_pipeline.params.devices import RuntimeSettings
from ofa_pipeline.params.editing import add_device, remove_device, set_budgets, set_card
from ofa_pipeline.params.reading import load_params, parse_params
from ofa_pipeline.params.search import SearchParams
from ofa_pipeline.params.training import PhaseParams, TrainingParams, scaled_rate
from ofa_pipeline.params.whole import Params

__all__ = [
    "ANY_DATASET",
    "Params",
    "PhaseParams",
    "RuntimeSettings",
    "SearchParams",
    "SpecializeParams",
    "TrainingParams",
    "add_device",
    "load_params",
    "parse_params",
    "remove_device",
    "scaled_rate",
    "set_budgets",
    "set_card",
]
