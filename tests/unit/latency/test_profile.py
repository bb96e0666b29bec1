import json

import pytest

from ofa_pipeline.devices import describe_device
from ofa_pipeline.errors import DeviceError, ManifestMismatchError
from ofa_pipeline.latency import (
    LatencyProfile,
    design_subnets,
    fit_latency,
    load_latency_profile,
    reference_arch,
    resolve_budgets_ms,
    save_latency_model,
    save_profile_card,
)
from tests.support.documents import latency_report
from tests.support.runtimes import Settings, tiny_space
from tests.support.synthetic import true_latency_ms


@pytest.fixture
def profile():
    space = tiny_space()
    genes, _ = design_subnets(space, num_classes=3, num_subnets=12, num_holdout=0, seed=0)
    return LatencyProfile(
        card=describe_device(Settings()),
        model=fit_latency(space, genes, true_latency_ms(space, genes), num_classes=3).model,
        reference=reference_arch(space),
        reference_ms=0.1,
        smallest_ms=0.05,
        largest_ms=0.35,
    )


def test_a_saved_profile_is_the_same_when_loaded(profile, tmp_path):
    save_profile_card(profile, tmp_path)
    save_latency_model(profile.model, tmp_path, report=latency_report())
    assert load_latency_profile(tmp_path) == profile


def test_a_broken_card_says_how_to_make_one(profile, tmp_path):
    (tmp_path / "profile.json").write_text("{}")
    with pytest.raises(ManifestMismatchError, match="profile_latency"):
        load_latency_profile(tmp_path)


def test_a_profile_of_other_hardware_is_refused(profile):
    with pytest.raises(DeviceError, match=r"batch_size 1 against 8.*profile_latency"):
        profile.open_device(Settings(batch_size=8), tiny_space())


def test_its_device_measures_with_the_reference_latency_of_the_profile(profile, monkeypatch):
    monkeypatch.setattr("ofa_pipeline.latency.profile.open_device", lambda *given, **_: given)
    settings, reference = profile.open_device(Settings(), tiny_space())
    assert settings == Settings()
    assert (reference.latency_ms, reference.resolution_px) == (0.1, 16)


def test_the_reference_is_in_the_middle_of_every_choice():
    arch = reference_arch(tiny_space())
    assert set(arch.kernel_sizes) == {5}
    assert set(arch.expand_ratios) == {3.0}


@pytest.mark.parametrize(
    ("smallest_ms", "largest_ms", "fractions", "expected"),
    [
        (0.05, 0.35, [0.0, 0.1, 0.5, 1.0], (0.05, 0.08, 0.2, 0.35)),
        (0.0512, 0.3533, [0.0, 0.25], (0.052, 0.127)),
        (11.37, 92.4, [0.1, 0.5], (19.5, 51.9)),
        (100, 4100, [0.5], (2100,)),
    ],
)
def test_fractions_become_round_budgets_that_are_never_tighter(
    smallest_ms, largest_ms, fractions, expected
):
    found = resolve_budgets_ms(None, fractions, smallest_ms=smallest_ms, largest_ms=largest_ms)
    assert found == pytest.approx(expected, rel=1e-9)
    assert all(json.loads(json.dumps(value)) == value for value in found)
    assert found[0] >= smallest_ms


def test_budgets_in_milliseconds_stay_as_they_are(profile):
    assert profile.budgets_ms([0.123456], None) == (0.123456,)


def test_a_range_that_is_none_and_budgets_of_two_kinds_are_refused():
    with pytest.raises(DeviceError, match="slower"):
        resolve_budgets_ms(None, [0.5], smallest_ms=1.0, largest_ms=1.0)
    with pytest.raises(DeviceError, match="one of them"):
        resolve_budgets_ms([1.0], [0.5], smallest_ms=1.0, largest_ms=2.0)
