"""`ofa-pipeline sign`: what is said about the key, and about the certificate."""

import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ofa_pipeline.cli import main
from ofa_pipeline.registry.fields import SIGNATURE_TAG, STALE_TAG
from tests.support.certified import register_certified, write_certified_bundle
from tests.support.registry import InMemoryRegistry


@pytest.fixture
def key_file(tmp_path):
    return new_key(tmp_path / "the team.pem")


def new_key(path):
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


def test_signature_of_another_key_that_is_replaced_is_told(monkeypatch, capsys, tmp_path, key_file):
    registry = InMemoryRegistry()
    subnet = register_certified(registry, write_certified_bundle(tmp_path / "bundle"))
    monkeypatch.setattr("ofa_pipeline.registry.open_registry", lambda *_, **__: registry)
    said = []
    for key in (key_file, key_file, new_key(tmp_path / "other.pem"), None, key_file):
        if key is None:
            registry.set_mark(subnet, SIGNATURE_TAG, "[]")
            continue
        key.chmod(0o600)
        words = ["ofa-pipeline", "sign", "models:/ofa-tiny-cpu/1", "--key", str(key)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        said.append(capsys.readouterr().out)
    first = said[0].split("with the key ")[1].split(",")[0]
    replaced = ["takes the place of" in text for text in said]
    assert replaced == [False, False, True, True]
    assert f"of the key {first}" in said[2]
    assert "of the key (unreadable)" in said[3]


def test_doubts_about_a_certificate_are_told_by_whoever_relies_on_it(
    monkeypatch, capsys, tmp_path, key_file
):
    registry = InMemoryRegistry()
    subnet = register_certified(registry, write_certified_bundle(tmp_path / "bundle"))
    monkeypatch.setattr("ofa_pipeline.registry.open_registry", lambda *_, **__: registry)
    key_file.chmod(0o600)
    commands = {"pull": (str(tmp_path / "pulled"),), "sign": ("--key", str(key_file))}
    commands["certificate"] = ()

    def said_by(name):
        words = ["ofa-pipeline", name, subnet.model_uri, *commands[name]]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().err

    assert not any(said_by(name) for name in commands)
    registry.time = datetime.now(UTC) - timedelta(days=400)
    registry.set_mark(subnet, STALE_TAG, "the driver was changed")
    for name in commands:
        said = said_by(name)
        assert "its certificate expired on" in said
        # A run finds everything up to date: only this measures again.
        anew = "ofa-pipeline device profile cpu --again ; ofa-pipeline run --device cpu"
        assert anew in said
        assert "stale: the driver was changed" in said
