"""The published Note10 tables against what the reference computes from them (w1.2)."""

import json

import pytest

from ofa_pipeline.reference.lookup_table import LookupTableModel, read_lookup_tables
from ofa_pipeline.spaces import reference_space
from tests.support.shared import shared_path

SPACE = reference_space("ofa_mbv3_d234_e346_k357_w1.2")

# Computed with the reference (mit-han-lab/once-for-all f03b267): uniform (kernel size, expand
# ratio, depth), summed over the published table of each resolution, in milliseconds.
UNIFORM = {
    160: (9.890347, 20.032600, 47.773312, 30.995270, 13.933333),
    176: (11.721360, 24.210225, 58.037906, 37.147502, 16.732437),
    192: (13.325493, 27.835619, 67.561659, 42.431244, 19.421619),
    208: (15.834109, 33.470511, 81.192398, 50.706669, 23.210982),
    224: (17.769056, 37.806377, 92.398038, 57.081900, 26.393580),
}
CHOICES = ((3, 3, 2), (5, 4, 3), (7, 6, 4), (3, 6, 4), (7, 3, 2))


@pytest.fixture(scope="module")
def model():
    tables = read_lookup_tables(shared_path("official/note10"))
    return LookupTableModel(SPACE, tables, num_classes=1000)


@pytest.mark.parametrize("resolution_px", UNIFORM)
def test_uniform_networks_take_as_long_as_in_the_reference(model, resolution_px):
    archs = [
        SPACE.arch(
            resolution_px=resolution_px,
            kernel_sizes=kernel_size,
            expand_ratios=float(expand_ratio),
            depths=depth,
        )
        for kernel_size, expand_ratio, depth in CHOICES
    ]
    assert model(SPACE.genes(archs)) == pytest.approx(UNIFORM[resolution_px], rel=1e-6)


def test_random_networks_take_as_long_as_in_the_reference(model):
    cases = json.loads(shared_path("golden/official_predictions.json").read_text())
    cases = cases["mobilenet_v3_w12"]
    archs = [
        SPACE.arch(
            resolution_px=case["image_size"],
            kernel_sizes=case["ks"],
            expand_ratios=[float(ratio) for ratio in case["e"]],
            depths=case["d"],
        )
        for case in cases
    ]
    expected = [case["note10_ms"] for case in cases]
    assert model(SPACE.genes(archs)) == pytest.approx(expected, rel=1e-9)
