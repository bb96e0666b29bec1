"""What can be found out in seconds before hours of work: one list, for `params check` and `run`.

Every check says what it looked at and what it found there. None reads an image, and none changes
anything.
"""

from ofa_pipeline.preflight.checks import NOT_CHECKED, check_before_work, look
from ofa_pipeline.preflight.findings import Finding, State
from ofa_pipeline.preflight.services import check_prefect

__all__ = ["NOT_CHECKED", "Finding", "State", "check_before_work", "check_prefect", "look"]
