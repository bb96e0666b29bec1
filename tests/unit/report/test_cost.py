"""What once-for-all cost: sums, estimates, the break-even, and what is said of them."""

import json
from dataclasses import replace

import pytest

from ofa_pipeline.artifacts import Layout, write_artifact, write_json
from ofa_pipeline.report.assemble import load_cost
from ofa_pipeline.report.cost import CostFacts, FinetuningCost, StageCost, break_even
from ofa_pipeline.report.page import cost_text
from ofa_pipeline.stopwatch import Seconds
from tests.support.report import page_of, sample_contents, sample_cost
from tests.support.report_workspace import DEVICES, PHASES, write_report_workspace


def finetuning(**changes):
    values = {
        "device": "cpu",
        "arch_id": "a",
        "seconds": Seconds(cpu_s=12, wall_s=6),
        "epochs": 2,
        "macs": 100,
        "teacher_macs": 300,
    }
    return FinetuningCost(**{**values, **changes})


def cost(*, once=90.0, **changes):
    stage = StageCost(stage="fit_predictor", item=None, seconds=Seconds(cpu_s=once, wall_s=1))
    return CostFacts(epochs=10, once=(stage,), finetunings=(finetuning(**changes),))


def test_an_epoch_alone_is_one_of_fine_tuning_without_the_forward_pass_of_the_teacher():
    # Forward and backward passes are 3 x 100 of 3 x 100 + 300: half of 6 s an epoch, ten times.
    assert finetuning().alone(epochs=10) == Seconds(cpu_s=30, wall_s=15)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0, "seconds": Seconds()},
        {"seconds": None},
        {"seconds": Seconds(cpu_s=1, wall_s=1, is_complete=False)},
    ],
)
def test_no_estimate_is_made_of_what_is_not_known(changes):
    assert finetuning(**changes).alone(epochs=10) is None
    assert "cannot be told" in cost_text(cost(**changes))


def test_break_even_is_what_is_done_once_over_what_a_subnet_saves():
    assert break_even(once_s=90, alone_s=30, finetuning_s=12) == 5
    assert cost().cheaper_from == 6  # with five, both cost the same
    assert "cheaper from 6 subnets on." in cost_text(cost())


def test_totals_of_the_subnets_at_hand_are_told_both_ways():
    text = cost_text(cost()).replace("\N{NO-BREAK SPACE}", " ")
    assert text.endswith("The 1 subnet here took 1.7 min; alone it takes 30 s.")
    assert "The 3 subnets here" in cost_text(sample_cost(is_measured=True))  # of two devices


def test_a_subnet_of_two_devices_is_counted_once():
    facts = cost()
    dear = finetuning(device="gpu", seconds=Seconds(cpu_s=1000, wall_s=500))
    other = finetuning(device="gpu", arch_id="b", seconds=Seconds(cpu_s=24, wall_s=12))
    facts = replace(facts, finetunings=(*facts.finetunings, dear, other))
    assert [(item.device, item.arch_id) for item in facts.subnets] == [("cpu", "a"), ("gpu", "b")]
    assert (facts.finetuning_s, facts.alone_s) == (18, 45)
    assert "The 2 subnets here took 2.1" in cost_text(facts).replace("\N{NO-BREAK SPACE}", " ")


def test_fine_tuning_that_costs_as_much_as_training_alone_never_pays():
    assert break_even(once_s=90, alone_s=12, finetuning_s=12) is None
    assert "not cheaper, for any number" in cost_text(cost(teacher_macs=10**6))


def test_wall_seconds_are_compared_where_a_gpu_worked():
    on_cuda = cost(seconds=Seconds(cpu_s=12, wall_s=6, on_cuda=True))
    assert (on_cuda.once_s, on_cuda.finetuning_s, on_cuda.alone_s) == (1, 6, 15)


def test_a_sum_without_all_parts_says_at_least():
    facts = cost()
    [stage] = facts.once
    lacking = replace(stage, seconds=replace(stage.seconds, is_complete=False))
    assert "took at least 1.5" in cost_text(replace(facts, once=(lacking,)))
    unknown = replace(facts, once=(stage, replace(stage, seconds=None)))
    assert unknown.total_once is None


def test_measured_figures_take_the_place_of_estimates():
    estimated, measured = sample_cost(is_measured=False), sample_cost(is_measured=True)
    assert measured.alone_s == pytest.approx(130)
    assert estimated.alone_s != measured.alone_s


def page(facts):
    html = page_of(replace(sample_contents(), cost=facts))
    return html[html.index('<section id="cost"') : html.index('<section id="predictor"')]


def test_page_claims_no_accuracy_of_training_alone_unless_it_was_measured():
    estimated, measured = page(sample_cost(is_measured=False)), page(sample_cost(is_measured=True))
    assert "has not been measured" in estimated
    assert "benchmarks/against_scratch.py" in estimated
    assert "trained alone</caption>" not in estimated
    assert "No subnet of the 6 that ship is less accurate" in measured
    assert "trained alone</caption>" in measured
    assert 'kind-estimated">' not in measured


def test_page_says_what_is_not_known():
    facts = sample_cost(is_measured=False)
    unknown = replace(facts, once=tuple(replace(item, seconds=None) for item in facts.once))
    assert page(unknown).count("not known") == len(facts.once)


@pytest.fixture
def folders(tmp_path):
    return write_report_workspace(tmp_path)


def write_seconds(folders, *parts, of, **values):
    folder = folders.seconds.joinpath(*parts)
    with write_artifact(folder, stage=parts[0], item=None, params={}, inputs=of) as writer:
        writer.summary |= values
        if parts == ("against_scratch",):
            (writer.folder / "against_scratch.jsonl").write_text(alone_lines())


def alone_lines():
    row = {
        "device": DEVICES[0],
        "arch_id": "a",
        "accuracy_top1_extracted": 0.5,
        "accuracy_top1_finetuned": 0.6,
        "accuracy_top1_alone": 0.7,
        "standard_error": 0.04,
        "cpu_s_alone": 10.0,
        "wall_s_alone": 5.0,
        "on_cuda": False,
    }
    return json.dumps(row) + "\n" + json.dumps({"break_even_subnets": 3}) + "\n"


def test_seconds_of_the_present_artifact_are_read_and_those_of_another_are_not(folders):
    phase = folders.phases[PHASES[0]]
    seconds = Seconds(cpu_s=3, wall_s=2)
    write_seconds(folders, "train_supernet", PHASES[0], of=[phase], **seconds.to_dict())
    first, *others = load_cost(folders).once
    assert (first.stage, first.item, first.seconds) == ("train_supernet", PHASES[0], seconds)
    assert all(item.seconds is None for item in others)
    manifest = json.loads((phase / "manifest.json").read_text())
    del manifest["digest"]  # one of another run
    write_json(phase / "manifest.json", {**manifest, "summary": {"loss": 1.0}})
    assert load_cost(folders).once[0].seconds is None


def test_what_was_measured_of_training_alone_is_dropped_when_a_pick_changes(folders):
    shipped = [folders.devices[device].subnets for device in DEVICES]
    of = [folders.dataset, folders.phases[PHASES[-1]], *shipped]
    write_seconds(folders, "against_scratch", of=of)
    [measured] = load_cost(folders).measured
    assert measured.gain == pytest.approx(-0.1)
    assert measured.errors == pytest.approx(-2.5)
    assert not measured.is_within_two_standard_errors
    manifest = json.loads((shipped[0] / "manifest.json").read_text())
    del manifest["digest"]  # one of another run
    write_json(shipped[0] / "manifest.json", {**manifest, "summary": {"num_bundles": 9}})
    assert load_cost(folders).measured == ()


def test_bundles_of_an_earlier_version_tell_no_seconds(folders):
    for device in DEVICES:
        path = folders.devices[device].subnets / Layout.BUNDLES
        index = json.loads(path.read_text())
        for bundle in index["bundles"]:
            del bundle["finetuning"]
        path.write_text(json.dumps(index))
    found = load_cost(folders).finetunings
    assert len(found) == 2 * len(DEVICES)
    assert all(item.seconds is None for item in found)
