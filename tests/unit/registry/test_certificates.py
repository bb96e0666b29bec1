"""A certificate is shown of the file that was measured, and of no other."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ofa_pipeline.artifacts import digest_file
from ofa_pipeline.documents import DeviceCertificate
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError, RegistryError
from ofa_pipeline.registry import STALE_TAG, certify_bundle, certify_version
from tests.support.certified import register_certified, write_card, write_certified_bundle
from tests.support.documents import card, first_run_figures
from tests.support.registry import (
    InMemoryRegistry,
    digest_of,
    latency_figures,
    subnet_record,
)


@pytest.fixture
def bundle(tmp_path):
    return write_certified_bundle(tmp_path / "bundle")


def registered(bundle, **figures):
    registry = InMemoryRegistry()
    return registry, register_certified(registry, bundle, **figures)


def test_certificate_says_what_was_measured_on_what(bundle):
    registry, subnet = registered(bundle)
    found = certify_version(registry, subnet)
    [device] = found.devices
    assert isinstance(device, DeviceCertificate)
    assert device.card == card().latency["cpu"].card
    assert device.file_digest == digest_file(bundle / "model.onnx")
    assert (device.p50_ms, device.num_runs) == (1.0, card().latency["cpu"].num_runs)
    assert [(item.budget_ms, item.p50) for item in device.budgets] == [
        (1.2, "within"),
        (1.5, "within"),
    ]
    assert 0 < device.stability <= 1
    assert found.files["card.json"] == digest_file(bundle / "card.json")
    assert found.expires - found.issued == timedelta(days=365)
    assert not found.is_expired


def test_certificate_says_what_opening_took_and_null_where_nobody_measured_it(bundle):
    latency = card().latency["cpu"].to_dict()
    latency["file_digest"] = digest_file(bundle / "model.onnx")
    [earlier] = certify_bundle(write_card(bundle, latency={"cpu": latency})).devices
    assert set(first_run_figures()).isdisjoint(latency)
    assert all(earlier.to_dict()[name] is None for name in first_run_figures())
    noted = latency | first_run_figures()
    [later] = certify_bundle(write_card(bundle, latency={"cpu": noted})).devices
    assert later.to_dict().items() >= first_run_figures().items()


def test_p95_has_a_verdict_of_its_own(bundle):
    latency = card().latency["cpu"].to_dict() | {"p95_ms": 1.45, "num_runs": 10}
    latency["file_digest"] = digest_file(bundle / "model.onnx")
    found = certify_bundle(write_card(bundle, latency={"cpu": latency}))
    assert [item.p95 for item in found.devices[0].budgets] == ["over", "within_noise"]


def test_certificate_expires(bundle):
    registry, subnet = registered(bundle)
    registry.time = datetime(2020, 1, 1, tzinfo=UTC)
    assert certify_version(registry, subnet, valid_days=30).is_expired


@pytest.mark.parametrize("name", ["model.onnx", "subnet.json", "classify.py"])
def test_changed_file_has_no_certificate(bundle, name):
    (bundle / name).write_bytes((bundle / name).read_bytes() + b" ")
    with pytest.raises(RegistryError, match=f"{name} must have the SHA-256"):
        certify_bundle(bundle)


def test_missing_file_has_no_certificate(bundle):
    (bundle / "model.onnx").unlink()
    with pytest.raises(RegistryError, match=r"model\.onnx must have .* found nothing"):
        certify_bundle(bundle)


def test_card_that_measured_another_file_is_refused(bundle):
    latency = card().latency["cpu"].to_dict() | {"file_digest": "ab" * 32}
    with pytest.raises(RegistryError, match="not the file that was measured"):
        certify_bundle(write_card(bundle, latency={"cpu": latency}))


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b"])
def test_file_outside_of_the_bundle_is_refused(bundle, name):
    files = json.loads((bundle / "card.json").read_text())["files"]
    with pytest.raises(RegistryError, match="must name files of the bundle"):
        certify_bundle(write_card(bundle, files={**files, name: "ab" * 32}))


def test_folder_without_a_readable_card_is_refused(bundle):
    (bundle / "card.json").write_text("{}")
    with pytest.raises(ManifestMismatchError):
        certify_bundle(bundle)
    (bundle / "card.json").unlink()
    with pytest.raises(MissingArtifactError):
        certify_bundle(bundle)


def test_record_with_other_figures_than_the_files_is_refused(bundle):
    registry, subnet = registered(bundle, latency={"cpu": latency_figures(0.5)})
    with pytest.raises(RegistryError, match=r"registry tells 0\.5 ms for cpu, its certificate 1"):
        certify_version(registry, subnet)


def test_certificate_that_is_dated_ahead_says_that_nobody_can_tell_whether_it_expired(bundle):
    registry, subnet = registered(bundle)
    for ahead, is_told in ((timedelta(minutes=1), False), (timedelta(days=10), True)):
        registry.time = datetime.now(UTC) + ahead
        found = certify_version(registry, subnet)
        assert (found.is_dated_ahead, found.is_expired) == (is_told, False)


def test_reason_of_a_stale_certificate_is_never_long(bundle):
    registry, subnet = registered(bundle)
    registry.set_mark(subnet, STALE_TAG, "x" * 10_000)
    assert len(certify_version(registry, subnet).stale) < 600


def test_damaged_card_of_a_version_is_told_by_the_version(bundle):
    (bundle / "card.json").write_text('{"format": 9}')
    registry = InMemoryRegistry()
    subnet = registry.register(subnet_record(bundle_digest=digest_of(bundle)), bundle)
    message = r"^models:/ofa-tiny-cpu/1: card\.json must be of format 1, found 9"
    with pytest.raises(RegistryError, match=message):
        certify_version(registry, subnet)
