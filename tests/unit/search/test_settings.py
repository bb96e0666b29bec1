from pathlib import Path

import pytest
import yaml

from ofa_pipeline.documents import PredictionInterval
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.params import parse_params
from ofa_pipeline.search import verify_settings

SHIPPED = Path(__file__).parents[3] / "params.yaml"


def settings(margin, *, high):
    values = yaml.safe_load(SHIPPED.read_text())
    values["search"]["latency_margin"] = margin
    interval = None if high is None else PredictionInterval(coverage=0.9, low=-0.05, high=high)
    return verify_settings(
        parse_params(values, origin="params.yaml").search, accuracy_noise=0.001, interval=interval
    )


def test_a_margin_in_numbers_is_for_estimates_and_measurements():
    found = settings(0.05, high=None)
    assert (found.latency_margin, found.estimate_margin) == (0.05, None)


@pytest.mark.parametrize(("high", "expected"), [(0.0, 0.01), (0.25, 0.2), (0.06, 1 - 1 / 1.06)])
def test_auto_keeps_free_what_the_latency_model_may_be_off(high, expected):
    found = settings("auto", high=high)
    assert found.estimate_margin == pytest.approx(expected)
    assert found.latency_margin == 0.03


def test_auto_needs_a_prediction_interval():
    with pytest.raises(DeviceError, match="Run the stage profile_latency again"):
        settings("auto", high=None)
