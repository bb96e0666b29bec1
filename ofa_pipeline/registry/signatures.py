"""Signatures of registered subnets: that a team, and not just anybody with access, vouches for it.

Digests in a registry prove that files are those that were registered, not who registered them:
whoever can write there can write other digests, too. A signature with a key that the registry does
not hold cannot be made by them.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from ofa_pipeline.errors import ParamsError, RegistryError
from ofa_pipeline.explain import explain
from ofa_pipeline.registry.clocks import ahead_text, is_ahead
from ofa_pipeline.registry.fields import SIGNATURE_TAG
from ofa_pipeline.registry.protocol import SubnetRegistry
from ofa_pipeline.registry.record import RegisteredSubnet

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

_MAKE_KEYS = (
    "openssl genpkey -algorithm ed25519 -out team.pem; openssl pkey -in team.pem -pubout -out "
    "team.pub"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What was signed, when, by which key, and the signature."""

    model_name: str
    bundle_digest: str
    signed: str
    """Time in ISO format, UTC."""
    expires: str
    """Time in ISO format, UTC."""
    key: str
    """How the SHA-256 of the public key begins."""
    value: str = ""
    """Base64 of the Ed25519 signature of the other values."""
    format: int = 1

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        values = {name: value for name, value in asdict(self).items() if name != "value"}
        return json.dumps(values, sort_keys=True).encode()


def sign_version(
    registry: SubnetRegistry, subnet: RegisteredSubnet, key_file: Path, *, valid_days: float
) -> Signature:
    """Sign a version and write the signature into the registry.

    The caller has verified its files: what is signed is their digest. A version that was
    registered ahead of this machine's clock is not signed: the signature would be older than it.

    Args:
        registry: That holds it.
        subnet: The version.
        key_file: Private Ed25519 key, PEM without a password.
        valid_days: Until the signature expires.

    Raises:
        ParamsError: If the file holds no such key.
        RegistryError: If the registry refuses, or the clock of this machine is behind.
    """
    key = _private_key(key_file)
    registered = registry.registered_at(subnet)
    if is_ahead(registered):
        raise RegistryError(
            f"{subnet.model_uri} cannot be signed: when it was registered, "
            f"{ahead_text(registered)}."
        )
    now = datetime.now(UTC).replace(microsecond=0)
    unsigned = Signature(
        model_name=subnet.record.model_name,
        bundle_digest=subnet.record.bundle_digest,
        signed=now.isoformat(),
        expires=(now + timedelta(days=valid_days)).isoformat(),
        key=_fingerprint(key.public_key()),
    )
    values = {**asdict(unsigned), "value": base64.b64encode(key.sign(unsigned.message)).decode()}
    registry.set_mark(subnet, SIGNATURE_TAG, json.dumps(values, sort_keys=True))
    return Signature(**values)


def signer_of(registry: SubnetRegistry, subnet: RegisteredSubnet) -> str | None:
    """Return how the key begins that a version's signature names, verified or not; None: unsigned.

    Raises:
        RegistryError: If the registry refuses.
    """
    text = registry.mark(subnet, SIGNATURE_TAG)
    if not text:
        return None
    try:
        return _read(text, subnet).key
    except RegistryError:
        return "(unreadable)"


def check_signature(registry: SubnetRegistry, subnet: RegisteredSubnet, trusted: Path) -> Signature:
    """Return the signature of a version, which a trusted key has made of just this content.

    Args:
        registry: That holds it.
        subnet: The version.
        trusted: Public Ed25519 key, PEM.

    Raises:
        ParamsError: If the file holds no such key.
        RegistryError: If there is no signature, or it is of another key, of other content,
            expired, or dated ahead of this machine's clock.
    """
    from cryptography.exceptions import InvalidSignature

    key = _public_key(trusted)
    signature = _read(registry.mark(subnet, SIGNATURE_TAG), subnet)
    if signature.key != _fingerprint(key):
        raise RegistryError(
            f"{subnet.model_uri} must be signed by the key {_fingerprint(key)} of {trusted}, but "
            f"is signed by {signature.key}. Trust that one, or have it signed: {_how(subnet)}"
        )
    try:
        key.verify(base64.b64decode(signature.value, validate=True), signature.message)
    except (InvalidSignature, binascii.Error) as error:
        raise RegistryError(
            f"the signature of {subnet.model_uri} is not of what it says: somebody changed it. Do "
            f"not use this version; look who wrote it, or have it signed again: {_how(subnet)}"
        ) from error
    record = subnet.record
    if (signature.model_name, signature.bundle_digest) != (record.model_name, record.bundle_digest):
        raise RegistryError(
            f"the signature of {subnet.model_uri} is of {signature.model_name} with the digest "
            f"{signature.bundle_digest[:12]}, not of its content {record.bundle_digest[:12]}. Do "
            "not use this version."
        )
    signed = _moment(signature.signed)
    if is_ahead(signed):
        raise RegistryError(
            f"whether the signature of {subnet.model_uri} has expired cannot be told: its date, "
            f"{ahead_text(signed)}; or have it signed again: {_how(subnet)}"
        )
    if _moment(signature.expires) < datetime.now(UTC):
        raise RegistryError(
            f"the signature of {subnet.model_uri} expired on {signature.expires[:10]}. Have it "
            f"signed again: {_how(subnet)}"
        )
    return signature


def _how(subnet: RegisteredSubnet) -> str:
    return f"ofa-pipeline sign {subnet.model_uri} --key KEY"


def _read(text: str, subnet: RegisteredSubnet) -> Signature:
    if not text:
        raise RegistryError(f"{subnet.model_uri} is not signed. Have it signed: {_how(subnet)}")
    try:
        signature = TypeAdapter(Signature).validate_json(text)
        _moment(signature.signed), _moment(signature.expires)
    except (ValidationError, ValueError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else error
        raise RegistryError(
            f"the signature of {subnet.model_uri} cannot be read: {reason}. Have it signed again: "
            f"{_how(subnet)}"
        ) from error
    return signature


def _moment(text: str) -> datetime:
    """Return a moment as it is signed.

    Raises:
        ValueError: If it is none, or does not say its time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} must name its time zone")
    return moment


def _fingerprint(key: "Ed25519PublicKey") -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _private_key(path: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise _no_key(path, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def _public_key(path: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except ValueError as error:
        raise _no_key(path, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def _no_key(path: Path, kind: str) -> ParamsError:
    return ParamsError(
        f"{path} must hold a {kind} Ed25519 key in PEM, without a password. Make a pair with: "
        f"{_MAKE_KEYS}"
    )
