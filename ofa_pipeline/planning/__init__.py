"""What a run will do and take, before it begins and while it lasts."""

from ofa_pipeline.planning.machine import Machine, this_machine
from ofa_pipeline.planning.making import Judgement, expected_seconds, make_plan
from ofa_pipeline.planning.measuring import Measured, measure_machine
from ofa_pipeline.planning.order import address_of, run_addresses, stages_before
from ofa_pipeline.planning.outlook import Outlook
from ofa_pipeline.planning.params_text import write_proposal
from ofa_pipeline.planning.plan import (
    Plan,
    PlannedStage,
    keep_plan,
    kept_seconds,
    recorded_seconds,
    states_of,
)
from ofa_pipeline.planning.proposal import (
    PHOTO_PX,
    PUBLISHED,
    TRANSFER,
    Availability,
    Proposal,
    Setting,
    propose,
)
from ofa_pipeline.planning.rates import Rates, rates_of_thumb
from ofa_pipeline.planning.survey import SourceSurvey, survey_source
from ofa_pipeline.planning.work import SplitSizes, Work, WorkOfRun

__all__ = [
    "PHOTO_PX",
    "PUBLISHED",
    "TRANSFER",
    "Availability",
    "Judgement",
    "Machine",
    "Measured",
    "Outlook",
    "Plan",
    "PlannedStage",
    "Proposal",
    "Rates",
    "Setting",
    "SourceSurvey",
    "SplitSizes",
    "Work",
    "WorkOfRun",
    "address_of",
    "expected_seconds",
    "keep_plan",
    "kept_seconds",
    "make_plan",
    "measure_machine",
    "propose",
    "rates_of_thumb",
    "recorded_seconds",
    "run_addresses",
    "stages_before",
    "states_of",
    "survey_source",
    "this_machine",
    "write_proposal",
]
