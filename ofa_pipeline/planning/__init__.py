"""What a run will do and take, before it begins and while it lasts."""

from ofa_pipeline.planning.order import address_of, run_addresses, stages_before
from ofa_pipeline.planning.outlook import Outlook

__all__ = ["Outlook", "address_of", "run_addresses", "stages_before"]
