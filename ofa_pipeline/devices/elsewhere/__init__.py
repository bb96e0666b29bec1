"""Devices elsewhere: folders that are measured there, what comes back, and the ways there."""

from ofa_pipeline.devices.elsewhere.device import ElsewhereDevice, search_key
from ofa_pipeline.devices.elsewhere.folder import NetworkToMeasure, write_folder
from ofa_pipeline.devices.elsewhere.on_cluster import check_node, measure_on_node
from ofa_pipeline.devices.elsewhere.results import (
    card_of,
    check_result,
    measured,
    profiled_on,
    read_result,
)
from ofa_pipeline.devices.elsewhere.ssh import measure_over_ssh
from ofa_pipeline.devices.elsewhere.store import ElsewhereStore

__all__ = [
    "ElsewhereDevice",
    "ElsewhereStore",
    "NetworkToMeasure",
    "card_of",
    "check_node",
    "check_result",
    "measure_on_node",
    "measure_over_ssh",
    "measured",
    "profiled_on",
    "read_result",
    "search_key",
    "write_folder",
]
