"""The page of a version."""

from dataclasses import replace

import pytest

from ofa_pipeline.registry import Entry
from ofa_pipeline.registry.model_card import Links, model_card, proportion_interval
from ofa_pipeline.report.contents import proportion_interval as interval_of_the_report
from tests.support import documents as samples
from tests.support.registry import latency_figures, subnet_record, write_bundle

LINKS = Links("7", run_id="r0")


def card_of(record, folder, **given):
    return model_card(
        Entry(record=record, bundle_folder=folder, **given), model_id="m-0", links=LINKS
    )


def test_card_begins_with_the_answer_and_says_how_to_load_it(tmp_path):
    card = card_of(subnet_record(latency_ms=0.45), write_bundle(tmp_path / "bundle"))
    assert card.startswith("90.0% top-1 in 0.45 ms on cpu. ")
    assert "into 3 classes: red, green, blue." in card
    assert "90.00% (95 % interval 82.6% to 94.5%)" in card
    assert "p50 0.45 ms (95 % interval 0.4455 to 0.4545), p95 0.54 ms" in card
    code = card.partition("```python")[2].partition("```")[0].strip().splitlines()
    assert len(code) == 3
    assert "models:/m-0" in code[1]


@pytest.mark.parametrize(
    ("budget_ms", "words"),
    [
        (2.0, "p50 is within it, p95 is within it"),
        (1.1, "p50 is within it, p95 is over it"),
        (1.005, "p50 is within it by less than its noise, p95 is over it"),
        (0.9, "p50 is over it, p95 is over it"),
    ],
)
def test_both_verdicts_are_said(tmp_path, budget_ms, words):
    record = replace(subnet_record(), budgets_ms=(budget_ms,))
    assert f"Budget {budget_ms:.4g} ms: {words}." in card_of(record, tmp_path)


def test_device_and_its_noise_are_said(tmp_path):
    certificate = samples.card("a", device="cpu", p50_ms=1.0).latency["cpu"]
    card = card_of(subnet_record(), tmp_path, certificate=certificate)
    assert f"| measured on | {certificate.card.hardware}" in card
    assert "never quiet" not in card
    rough = certificate.model_copy(update={"is_contended": True})
    assert "never quiet" in card_of(subnet_record(), tmp_path, certificate=rough)


def test_what_opening_takes_is_said_or_that_nobody_measured_it(tmp_path):
    earlier = samples.card("a", device="cpu", p50_ms=1.0).latency["cpu"]
    assert card_of(subnet_record(), tmp_path, certificate=earlier).count("not measured") == 3
    noted = earlier.model_copy(update=samples.first_run_figures())
    card = card_of(subnet_record(), tmp_path, certificate=noted)
    assert "| opening the file | 12.3 ms |\n| first call | 1.5 ms |" in card
    assert "85.6 MB with Python and the runtime, of it 2.25 MB for the network" in card
    assert "became faster" not in card
    cold = noted.model_copy(update={"is_warm": False})
    assert "became faster" in card_of(subnet_record(), tmp_path, certificate=cold)


def test_names_cannot_break_the_page(tmp_path):
    record = subnet_record(latency={"cpu": latency_figures(1.0)})
    bundle = write_bundle(tmp_path / "bundle")
    subnet = (bundle / "subnet.json").read_text()
    (bundle / "subnet.json").write_text(subnet.replace('"red"', '"<img src=x>|`*_[a](b)"'))
    assert r"\<img src=x\>\|\`\*\_\[a\](b), green" in card_of(record, bundle)


@pytest.mark.parametrize(("share", "count"), [(0.857, 1800), (0.0, 10), (1.0, 10), (0.5, 1)])
def test_interval_is_that_of_the_report(share, count):
    found = interval_of_the_report(share, count=count)
    wanted = (found.low, found.high)
    assert proportion_interval(round(share * count) / count, count=count) == pytest.approx(wanted)
