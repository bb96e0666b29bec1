"""What a large run costs: the documentation says what its script computes."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

from scale_costs import (  # noqa: E402 - benchmarks are no package
    Sizes,
    UnitCosts,
    beside,
    hours,
    read_units,
    table,
)

UNIT = UnitCosts(device="one", learn_largest_s=3600.0, learn_s=36.0, teach_s=3.6, evaluate_s=0.36)


def test_the_page_holds_what_the_script_prints():
    page = (ROOT / "docs" / "scale.md").read_text()
    assert table(Sizes(), read_units()) in page
    assert beside(Sizes()) in page


def test_hours_are_counts_times_unit_costs():
    sizes = Sizes(
        training_images=1,
        largest_epochs=2,
        epochs_by_subnets=((10, 4),),
        finetuning_epochs=100,
        calibration_images=4,
        selection_images=6,
        subnets=1000,
        devices=5,
        budgets=2,
    )
    costs = {name: found for name, _, found in hours(sizes, UNIT)}
    assert costs == pytest.approx(
        {
            "train the supernet": 2 + 10 * (4 * 0.01 + 0.001),
            "evaluate subnets": 1000 * 10 * 0.0001,
            "verify candidates, at most": 5 * 2 * 2 * 3 * 10 * 0.0001,
            "fine-tune picks, at most": 5 * 2 * 100 * 0.011,
        }
    )
    doubled = [found for *_, found in hours(replace(sizes, devices=10), UNIT)]
    assert doubled[3] == pytest.approx(2 * costs["fine-tune picks, at most"])
