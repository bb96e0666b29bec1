from dataclasses import replace

import pytest

from ofa_pipeline.report.contents import NeedlessBudget
from ofa_pipeline.report.decisions import answer
from tests.support.report import page_of, sample_contents


@pytest.fixture(scope="module")
def contents():
    return sample_contents()


def with_device(contents, **changes):
    device = replace(contents.devices[0], **changes)
    return replace(contents, devices=(device, *contents.devices[1:]))


def quick(contents):
    """Return contents whose slow calls are within the budgets, too."""
    devices = [
        replace(
            device,
            subnets=tuple(replace(subnet, p95_ms=subnet.p50_ms) for subnet in device.subnets),
        )
        for device in contents.devices
    ]
    return replace(contents, devices=tuple(devices))


def test_every_budget_of_every_device_has_its_decision(contents):
    found = answer(contents).decisions
    assert [(item.device.name, item.budget_ms) for item in found] == [
        (device.name, budget) for device in contents.devices for budget, _ in device.served
    ]


def test_decision_says_how_to_load_the_subnet(contents):
    first = answer(contents).decisions[0]
    assert first.model_uri == "models:/ofa-mobilenet_v3_small_images-cpu-onnxruntime@best-210us"
    assert first.file == "artifacts/subnets/cpu-onnxruntime/subnet-0/model.onnx"
    unregistered = with_device(contents, model_name="")
    assert answer(unregistered).decisions[0].model_uri == ""
    assert "@best-210us" not in page_of(replace(unregistered, devices=unregistered.devices[:1]))


def test_headline_is_calm_only_where_nothing_asks_for_care(contents):
    assert answer(contents).headline == "Ready to deploy, with care."
    assert answer(quick(contents)).headline == "Ready to deploy."
    assert answer(quick(contents)).reasons == ()


def test_headline_warns_of_subnets_that_hardly_beat_guessing(contents):
    device = contents.devices[0]
    bad = [replace(subnet, accuracy_top1=0.2) for subnet in device.subnets]
    some = with_device(contents, subnets=(bad[0], *device.subnets[1:]))
    assert answer(some).headline == "Do not rely on 1 of the 6 picks."
    assert answer(some).reasons[0].level == "poor"
    only = replace(contents, devices=(replace(device, subnets=tuple(bad)),))
    assert answer(only).headline == "Do not rely on these subnets."


def test_reason_that_many_picks_share_is_told_once(contents):
    [reason] = answer(contents).reasons
    assert reason.text.startswith("6 of 6 picks: more than one call in twenty")


def test_runner_up_that_ships_is_called_one(contents):
    device = contents.devices[0]
    picks = [
        replace(pick, budget_ms=budget_ms)
        for pick, (budget_ms, _) in zip(device.search.picks, device.served, strict=True)
    ]
    changed = with_device(contents, search=replace(device.search, picks=tuple(picks)))
    assert f"first choice of the search, {picks[0].arch_id}" in answer(changed).decisions[0].why


def test_pick_is_explained_by_what_it_was_chosen_from(contents):
    device = contents.devices[0]
    picks = [
        replace(pick, budget_ms=budget_ms, arch_id=subnet.arch.arch_id, num_tied=2)
        for pick, (budget_ms, subnet) in zip(device.search.picks, device.served, strict=True)
    ]
    changed = with_device(contents, search=replace(device.search, picks=tuple(picks)))
    why = answer(changed).decisions[-1 - len(device.served)].why
    assert why.startswith("The most accurate of 1")
    assert "2 others cannot be told from it" in why


def test_more_accurate_subnet_of_a_cheaper_budget_is_proposed(contents):
    device = contents.devices[0]
    cheap, dear, other = device.subnets
    cheap = replace(cheap, accuracy_top1=dear.accuracy_top1)
    found = answer(with_device(contents, subnets=(cheap, dear, other))).decisions[:3]
    assert [item.instead for item in found] == [None, cheap, None]
    assert found[1].advised == cheap
    assert found[1].advised_finding("p95").level == "good"
    assert [item.level for item in found[1].findings if item.about == "p95"] == ["care"]
    page = page_of(with_device(contents, subnets=(cheap, dear, other)))
    assert "Deploy that for 0.21 ms" in page


def test_budget_that_buys_nothing_measurable_is_told(contents):
    device = contents.devices[0]
    (cheaper_ms, cheap), (budget_ms, dear), *_ = device.served
    needless = NeedlessBudget(
        budget_ms=budget_ms,
        cheaper_ms=cheaper_ms,
        accuracy_top1=dear.accuracy_top1,
        cheaper_accuracy_top1=cheap.accuracy_top1,
        noise=0.02,
        is_same_subnet=False,
    )
    page = page_of(with_device(contents, needless_budgets=(needless,)))
    assert "This budget buys nothing measurable over 0.21 ms" in page
    same = replace(needless, is_same_subnet=True)
    page = page_of(with_device(contents, needless_budgets=(same,)))
    assert "The subnet is that of 0.21 ms, too." in page


def test_verdict_of_a_budget_that_a_subnet_was_not_picked_for_is_that_of_its_interval(contents):
    subnet = contents.devices[0].subnets[0]
    low, high = subnet.p50_interval.low, subnet.p50_interval.high
    assert subnet.verdict_of(high) == "within"
    assert subnet.verdict_of((subnet.p50_ms + high) / 2) == "within_noise"
    assert subnet.verdict_of(low) == "over"


def test_budgets_that_share_an_alias_have_places_of_their_own(contents):
    first, second, *rest = contents.devices[0].subnets
    close = (replace(first, budgets_ms=(0.2101,)), replace(second, budgets_ms=(0.2102,)), *rest)
    found = answer(with_device(contents, subnets=close)).decisions[:2]
    assert found[0].alias == found[1].alias
    assert found[0].anchor != found[1].anchor
