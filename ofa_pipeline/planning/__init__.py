"""What a run will do and take, before it begins and while it lasts."""

from ofa_pipeline.planning.machine import Machine, this_machine
from ofa_pipeline.planning.order import address_of, run_addresses, stages_before
from ofa_pipeline.planning.outlook import Outlook
from ofa_pipeline.planning.params_text import write_proposal
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
    "Machine",
    "Outlook",
    "Proposal",
    "Rates",
    "Setting",
    "SourceSurvey",
    "SplitSizes",
    "Work",
    "WorkOfRun",
    "address_of",
    "propose",
    "rates_of_thumb",
    "run_addresses",
    "stages_before",
    "survey_source",
    "this_machine",
    "write_proposal",
]
