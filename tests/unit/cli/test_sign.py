"""`ofa-pipeline sign`: what is said about the key."""

import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ofa_pipeline.cli import main
from tests.support.certified import register_certified, write_certified_bundle
from tests.support.registry import InMemoryRegistry


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "the team.pem"
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o640, True)])
def test_key_that_others_may_use_is_told(monkeypatch, capsys, tmp_path, key_file, mode, told):
    registry = InMemoryRegistry()
    register_certified(registry, write_certified_bundle(tmp_path / "bundle"))
    monkeypatch.setattr("ofa_pipeline.registry.open_registry", lambda *_, **__: registry)
    key_file.chmod(mode)
    words = ["ofa-pipeline", "sign", "models:/ofa-tiny-cpu/1", "--key", str(key_file)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    assert (ended.value.code or 0, output.out.startswith("signed models:/")) == (0, True)
    assert (f"chmod 600 '{key_file}'" in output.err) is told
