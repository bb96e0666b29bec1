import numpy as np
import pytest

from ofa_pipeline.arch import Arch
from ofa_pipeline.evaluation import (
    LargestSubnet,
    Shipped,
    SubnetAccuracy,
    first_largest,
    next_largest,
    watch_chance,
    watch_phase,
    watch_shipped,
)
from ofa_pipeline.evaluation.comparison import chance_level, compare_paired, proportion_noise

ARCH = Arch(resolution_px=8, depths=(1,), kernel_sizes=(3,), expand_ratios=(2.0,))


def right(*, both=0, only_before=0, only_after=0, none=0):
    """Return which images were right before and after, by how many of each kind there are."""
    before = [True] * (both + only_before) + [False] * (only_after + none)
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * none
    return np.array(before), np.array(after)


def measured(correct):
    return SubnetAccuracy(
        arch=ARCH,
        accuracy_top1=float(correct.mean()),
        accuracy_top5=1.0,
        num_images=len(correct),
        correct=correct,
    )


def phase_of(before, after, previous=None):
    return next_largest(measured(before), measured(after), previous=previous)


def test_difference_counts_the_images_that_one_of_both_gets_right():
    change = compare_paired(*right(both=60, only_before=16, only_after=9, none=15))
    assert change.before == pytest.approx(0.76)
    assert change.after == pytest.approx(0.69)
    assert change.difference == pytest.approx(-0.07)
    assert change.noise == pytest.approx(np.sqrt(25) / 100)
    assert change.num_images == 100


WORSE = {"both": 600, "only_before": 170, "only_after": 30, "none": 200}


@pytest.mark.parametrize(
    ("images", "warns"),
    [
        ({"both": 600, "only_before": 30, "only_after": 170, "none": 200}, False),  # better
        ({"both": 700, "only_before": 60, "only_after": 50, "none": 190}, False),  # within
        ({"both": 700, "only_before": 60, "only_after": 40, "none": 200}, False),  # two of it
        ({"both": 700, "only_before": 61, "only_after": 39, "none": 200}, True),
        (WORSE, True),
        ({"both": 1000}, False),  # nothing changed, and no noise
        ({"only_before": 1000}, True),
        # Five images: four that are lost may be chance, five may not.
        ({"both": 1, "only_before": 4}, False),
        ({"only_before": 5}, True),
        ({"only_after": 5}, False),
    ],
)
def test_only_a_phase_that_is_worse_than_its_noise_warns(images, warns):
    warning = watch_phase(phase_of(*right(**images)), phase="kernel", is_sandwich=False)
    assert (warning is not None) is warns


def test_warning_of_a_phase_says_figures_and_params():
    warning = watch_phase(phase_of(*right(**WORSE)), phase="kernel", is_sandwich=False)
    assert warning.address == "train_supernet@kernel"
    assert "77.00 % before, 63.00 % after, -14.00 points with a noise of 1.41" in warning.text
    assert "1,000 selection images" in warning.text
    for name in ("learning_rate", "epochs", "sampling"):
        assert f"phases.kernel.{name}" in warning.advice
    assert warning.figures["difference"] == pytest.approx(-0.14)


def test_what_a_phase_does_already_is_no_advice():
    warning = watch_phase(phase_of(*right(**WORSE)), phase="kernel", is_sandwich=True)
    assert "sampling" not in warning.advice


def test_first_phase_has_nothing_to_be_worse_than():
    largest = first_largest(measured(np.array([True, False])))
    assert watch_phase(largest, phase="largest", is_sandwich=False) is None
    assert largest.accuracy_top1_first_phase == 0.5


@pytest.mark.parametrize(("share", "warns"), [(0.05, True), (0.115, True), (0.13, False)])
def test_a_phase_that_leaves_nothing_learned_says_so_at_once(share, warns):
    right_of_1000 = np.arange(1000) < round(1000 * share)
    largest = first_largest(measured(right_of_1000))
    warning = watch_chance(largest, list(range(10)) * 100, phase="largest")
    assert (warning is not None) is warns
    if warning is not None:
        assert warning.address == "train_supernet@largest"
        assert "most frequent class gives 10.00 %, with a noise of 0.95 points" in warning.text
        assert "phases.largest.learning_rate" in warning.advice


def test_figures_survive_the_manifest_and_hand_the_first_phase_on():
    first = first_largest(measured(np.array([True, True, True, False])))
    second = phase_of(*right(both=2, only_before=1, none=1), previous=first)
    again = LargestSubnet.from_summary(second.to_summary())
    assert again == second
    assert again.accuracy_top1_first_phase == 0.75
    assert LargestSubnet.from_summary({"of an earlier": "version"}) is None


def largest_of(*, first, last, num_images=1000):
    return LargestSubnet(
        accuracy_top1_first_phase=first,
        accuracy_top1_before=last,
        accuracy_top1_after=last,
        difference=0.0,
        noise=0.01,
        num_images=num_images,
    )


def shipped(*accuracies, labels=None):
    return Shipped(
        device="phone",
        accuracy_top1={f"arch{number}": value for number, value in enumerate(accuracies)},
        labels=[index % 10 for index in range(1000)] if labels is None else labels,
    )


def watched(found, largest=None):
    return watch_shipped(found, largest=largest, phases=["largest", "kernel", "expand"])


@pytest.mark.parametrize(
    ("best", "warns"), [(0.9, False), (0.8, False), (0.77, False), (0.75, True), (0.6, True)]
)
def test_best_subnet_is_held_against_the_first_phase(best, warns):
    # The noise of both together is 1.8 points at 80 %.
    found = watched(shipped(0.5, best), largest_of(first=0.8, last=0.8))
    assert bool(found) is warns


def test_advice_says_whether_later_phases_lost_it_or_small_subnets_fall_short():
    [lost] = watched(shipped(0.6), largest_of(first=0.8, last=0.62))
    [short] = watched(shipped(0.6), largest_of(first=0.8, last=0.79))
    assert lost.address == short.address == "specialize@phone"
    assert "60.00 % against 80.00 %, -20.00 points" in lost.text
    assert "the largest subnet ended at 62.00 %" in lost.advice
    assert "learning_rate" in lost.advice
    assert "devices.phone" in short.advice
    assert "phases.expand.epochs" in short.advice
    assert "learning_rate" not in short.advice


def test_without_figures_of_the_phases_only_chance_counts():
    assert watched(shipped(0.6)) == ()


@pytest.mark.parametrize(("accuracy", "warns"), [(0.1, True), (0.115, True), (0.13, False)])
def test_subnet_at_chance_level_is_named(accuracy, warns):
    found = watched(shipped(accuracy, 0.7))
    assert [warning.figures["num_subnets"] for warning in found] == [1] * warns
    assert all("arch0" in item.text and "arch1" not in item.text for item in found)


def test_chance_is_the_most_frequent_class():
    labels = [0] * 80 + [1] * 20
    assert chance_level(labels) == 0.8
    assert watched(shipped(0.85, labels=labels))
    assert not watched(shipped(0.9, labels=labels))


@pytest.mark.parametrize(
    ("labels", "accuracy", "warns"),
    [
        ([0, 1, 2, 3, 4], 0.6, False),
        ([0, 1, 2, 3, 4], 0.4, True),
        ([0, 0, 1, 1, 2], 0.8, True),
        ([0, 0, 1, 1, 2], 1.0, False),
        ([0, 0, 0, 1, 1], 1.0, True),  # five right answers are no rarity where three are given
    ],
)
def test_five_images_tell_little(labels, accuracy, warns):
    assert bool(watched(shipped(accuracy, labels=labels))) is warns


def test_one_class_is_chance_whatever_is_answered():
    [warning] = watched(shipped(1.0, labels=[0] * 50))
    assert warning.figures["accuracy_top1_chance"] == 1.0
    assert proportion_noise(1.0, num_images=50) == 0
