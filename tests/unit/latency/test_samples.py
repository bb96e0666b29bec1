"""What a profile says of the measurements besides how good its model is."""

import pytest

from ofa_pipeline.latency import LatencyTask, Sample, profile_messages
from tests.support.documents import first_run_figures, latency_report, measurement
from tests.support.runtimes import tiny_space


def messages(*figures):
    arch = tiny_space().smallest
    samples = [
        Sample(
            task=LatencyTask(arch=arch, role="fit"),
            measurement=measurement().model_copy(update=values),
        )
        for values in figures
    ]
    return " ".join(profile_messages("phone", samples, latency_report()))


def test_what_opening_calling_and_memory_come_to_is_said():
    slower = {**first_run_figures(), "load_ms": 45.6, "network_memory_mb": 9.0}
    assert (
        "phone: opening the file of a subnet takes 12.3 to 45.6 ms, its first call 1.5 to 1.5 ms, "
        "its memory 2.25 to 9 MB"
    ) in messages(first_run_figures(), slower)


def test_what_earlier_versions_did_not_note_was_not_measured():
    assert "its first call not measured, its memory not measured" in messages({}, {})


@pytest.mark.parametrize(("is_warm", "is_said"), [(False, True), (True, False), (None, False)])
def test_calls_that_still_became_faster_are_counted(is_warm, is_said):
    found = messages(first_run_figures(), {"is_warm": is_warm})
    assert ("became faster when they were timed in 1 of 2 measurements" in found) is is_said
