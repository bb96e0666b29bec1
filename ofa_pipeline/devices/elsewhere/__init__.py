"""Devices elsewhere: folders that are measured there, what comes back, and the ways there."""

from ofa_pipeline.devices.elsewhere.device import ElsewhereDevice, search_key
from ofa_pipeline.devices.elsewhere.folder import NetworkToMeasure, write_folder
from ofa_pipeline.devices.elsewhere.following import LostError
from ofa_pipeline.devices.elsewhere.on_cluster import (
    check_node,
    check_on_node,
    measure_on_node,
)
from ofa_pipeline.devices.elsewhere.results import (
    card_of,
    card_said,
    check_result,
    measured,
    profiled_on,
    read_result,
)
from ofa_pipeline.devices.elsewhere.ssh import ask_over_ssh, check_over_ssh, measure_over_ssh
from ofa_pipeline.devices.elsewhere.store import ElsewhereStore

__all__ = [
    "ElsewhereDevice",
    "ElsewhereStore",
    "LostError",
    "NetworkToMeasure",
    "ask_over_ssh",
    "card_of",
    "card_said",
    "check_node",
    "check_on_node",
    "check_over_ssh",
    "check_result",
    "measure_on_node",
    "measure_over_ssh",
    "measured",
    "profiled_on",
    "read_result",
    "search_key",
    "write_folder",
]
