"""Who becomes candidate and champion, and why not."""

from datetime import UTC, datetime, timedelta

import pytest

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import certify_version, plan_promotion, promote
from ofa_pipeline.registry.fields import STALE_TAG
from tests.support.certified import register_certified, write_certified_bundle
from tests.support.registry import DATASET, MODEL, InMemoryRegistry


@pytest.fixture
def registry():
    return InMemoryRegistry()


@pytest.fixture
def add(registry, tmp_path):
    """Register a subnet with files of its own."""

    def register(accuracy, p50_ms=1.0, **figures):
        folder = tmp_path / f"bundle-{len(registry.snapshot().subnets)}"
        bundle = write_certified_bundle(folder, p50_ms=p50_ms)
        return register_certified(registry, bundle, p50_ms=p50_ms, accuracy=accuracy, **figures)

    return register


def champion_after(registry, *subnets):
    """Promote subnets one after the other to candidate and champion; return the last plan."""
    plan = None
    for subnet in subnets:
        promote(registry, plan_promotion(registry, subnet, "candidate"))
        plan = plan_promotion(registry, subnet, "champion")
        if plan.is_allowed:
            promote(registry, plan)
    return plan


def failed(plan):
    return [check.name for check in plan.checks if not check.is_met]


def test_first_candidate_becomes_champion(registry, add):
    subnet = add(0.8)
    plan = champion_after(registry, subnet)
    assert plan.before is None
    assert registry.aliases(MODEL) == {"candidate": 1, "champion": 1}


def test_planning_changes_nothing(registry, add):
    plan_promotion(registry, add(0.8), "candidate")
    assert registry.aliases(MODEL) == {}


def test_champion_was_the_candidate(registry, add):
    first, second = add(0.8), add(0.95, p50_ms=1.01)
    assert failed(plan_promotion(registry, first, "champion")) == ["candidate before"]
    promote(registry, plan_promotion(registry, second, "candidate"))
    plan = plan_promotion(registry, first, "champion")
    assert "v2 is" in plan.checks[-1].reason
    with pytest.raises(RegistryError, match="candidate before: v2 is"):
        promote(registry, plan)


@pytest.mark.parametrize(
    ("accuracy", "p50_ms", "champion"),
    [
        (0.90, 1.001, 2),  # 100 test images: a standard error is 4 points
        (0.83, 1.001, 1),
        (0.90, 2.0, 1),  # better, but slower
        (0.80, 0.5, 2),  # faster, and as good
        (0.70, 0.5, 1),  # faster, but worse
    ],
)
def test_champion_has_to_be_beaten_beyond_the_noise(registry, add, accuracy, p50_ms, champion):
    champion_after(registry, add(0.8), add(accuracy, p50_ms))
    assert registry.aliases(MODEL) == {"candidate": 2, "champion": champion}


def test_champion_of_other_images_does_not_compare(registry, add):
    plan = champion_after(registry, add(0.5), add(0.9, p50_ms=1.001, lineage={DATASET: "0e" * 32}))
    assert failed(plan) == ["better than v1"]
    assert "other images" in plan.checks[-1].reason


def test_changed_file_and_expired_certificate_end_it(registry, add, tmp_path):
    subnet = add(0.8)
    registry.time = datetime(2020, 1, 1, tzinfo=UTC)
    assert failed(plan_promotion(registry, subnet, "candidate")) == ["certificate"]
    (tmp_path / "bundle-0" / "model.onnx").write_bytes(b"other")
    assert failed(plan_promotion(registry, subnet, "candidate")) == ["files"]


def test_version_that_is_dated_ahead_is_promoted_to_nothing(registry, add):
    subnet = add(0.8)
    registry.time = datetime.now(UTC) + timedelta(days=10)
    [check] = [
        item for item in plan_promotion(registry, subnet, "candidate").checks if not item.is_met
    ]
    assert (check.name, "cannot be told" in check.reason) == ("certificate", True)
    assert "delete the version in MLflow, then ofa-pipeline run" in check.reason


def test_version_whose_device_has_changed_is_promoted_to_nothing(registry, add):
    subnet = add(0.8)
    registry.set_mark(subnet, STALE_TAG, "cpu was another device on 2026-01-01")
    assert certify_version(registry, subnet).stale == "cpu was another device on 2026-01-01"
    assert failed(plan_promotion(registry, subnet, "candidate")) == ["device"]
