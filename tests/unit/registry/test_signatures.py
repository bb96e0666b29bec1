"""A signature is of one content, by one key, for a time."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ofa_pipeline.errors import ParamsError, RegistryError
from ofa_pipeline.registry import check_signature, sign_version, signatures
from ofa_pipeline.registry.fields import SIGNATURE_TAG
from tests.support.registry import InMemoryRegistry, subnet_record


def write_keys(folder, name, key=None):
    """Write a pair; returns the files of the private and the public one."""
    key = key or Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "team")


@pytest.fixture
def registry():
    return InMemoryRegistry()


@pytest.fixture
def subnet(registry, tmp_path):
    return registry.register(subnet_record(), tmp_path)


def change(registry, subnet, **values):
    text = json.loads(registry.mark(subnet, SIGNATURE_TAG)) | values
    registry.set_mark(subnet, SIGNATURE_TAG, json.dumps(text))


def test_signed_version_is_trusted(registry, subnet, keys):
    signed = sign_version(registry, subnet, keys[0], valid_days=30)
    assert check_signature(registry, subnet, keys[1]) == signed
    assert signed.bundle_digest == subnet.record.bundle_digest


def test_unsigned_and_foreign_are_refused(registry, subnet, keys, tmp_path):
    with pytest.raises(RegistryError, match=r"is not signed\. Have it signed: ofa-pipeline sign"):
        check_signature(registry, subnet, keys[1])
    sign_version(registry, subnet, write_keys(tmp_path, "other")[0], valid_days=30)
    with pytest.raises(RegistryError, match="must be signed by the key"):
        check_signature(registry, subnet, keys[1])


def test_expired_is_refused(registry, subnet, keys):
    sign_version(registry, subnet, keys[0], valid_days=-1)
    with pytest.raises(RegistryError, match="expired on"):
        check_signature(registry, subnet, keys[1])


class Clock(datetime):
    """A clock that is ten days ahead."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(days=10)


def test_signature_that_is_dated_ahead_is_refused(registry, subnet, keys, monkeypatch):
    with monkeypatch.context() as ahead:
        ahead.setattr(signatures, "datetime", Clock)
        sign_version(registry, subnet, keys[0], valid_days=30)
    with pytest.raises(RegistryError, match=r"cannot be told: its date, .* UTC lies ahead"):
        check_signature(registry, subnet, keys[1])


def test_nothing_is_signed_by_a_clock_that_is_behind_the_registration(registry, subnet, keys):
    registry.time = datetime.now(UTC) + timedelta(days=10)
    with pytest.raises(RegistryError, match=r"cannot be signed: when it was registered, .* ahead"):
        sign_version(registry, subnet, keys[0], valid_days=30)
    assert registry.mark(subnet, SIGNATURE_TAG) == ""


@pytest.mark.parametrize(
    "values",
    [
        {"expires": "2999-01-01T00:00:00+00:00"},
        {"bundle_digest": "0" * 64},
        {"value": "AAAA"},
        {"value": "no base64!"},
    ],
)
def test_changed_signature_is_refused(registry, subnet, keys, values):
    sign_version(registry, subnet, keys[0], valid_days=30)
    change(registry, subnet, **values)
    with pytest.raises(RegistryError, match="somebody changed it"):
        check_signature(registry, subnet, keys[1])


@pytest.mark.parametrize("text", ["{}", "no json", '{"value": 1}', "[]"])
def test_unreadable_signature_is_refused(registry, subnet, keys, text):
    registry.set_mark(subnet, SIGNATURE_TAG, text)
    with pytest.raises(RegistryError, match="cannot be read"):
        check_signature(registry, subnet, keys[1])


@pytest.mark.parametrize("name", ["signed", "expires"])
def test_signature_without_a_time_zone_is_refused(registry, subnet, keys, name):
    sign_version(registry, subnet, keys[0], valid_days=30)
    change(registry, subnet, **{name: "2999-01-01T00:00:00"})
    with pytest.raises(RegistryError, match=r"cannot be read: .* must name its time zone"):
        check_signature(registry, subnet, keys[1])


def test_signature_of_another_version_is_refused(registry, subnet, keys, tmp_path):
    sign_version(registry, subnet, keys[0], valid_days=30)
    other = registry.register(subnet_record(accuracy=0.5), tmp_path)
    registry.set_mark(other, SIGNATURE_TAG, registry.mark(subnet, SIGNATURE_TAG))
    with pytest.raises(RegistryError, match="not of its content"):
        check_signature(registry, other, keys[1])


def test_file_that_holds_no_such_key_is_refused(registry, subnet, keys, tmp_path):
    rsa = write_keys(tmp_path, "rsa", generate_private_key(65537, 2048))
    for private in (keys[1], rsa[0]):
        with pytest.raises(ParamsError, match=r"must hold a private Ed25519 key .* openssl"):
            sign_version(registry, subnet, private, valid_days=1)
    sign_version(registry, subnet, keys[0], valid_days=1)
    for public in (keys[0], rsa[1]):
        with pytest.raises(ParamsError, match="must hold a public Ed25519 key"):
            check_signature(registry, subnet, public)
