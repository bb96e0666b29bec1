"""`ofa-pipeline promote`: what is said of a version that has the rank."""

import sys

import pytest

from ofa_pipeline.cli import main
from tests.support.certified import register_certified, write_certified_bundle
from tests.support.registry import MODEL, InMemoryRegistry


def test_version_that_has_the_rank_keeps_it(monkeypatch, capsys, tmp_path):
    registry = InMemoryRegistry()
    register_certified(registry, write_certified_bundle(tmp_path / "bundle"))
    monkeypatch.setattr("ofa_pipeline.registry.open_registry", lambda *_, **__: registry)
    said = []
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["ofa-pipeline", "promote", f"models:/{MODEL}/1"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        said.append(capsys.readouterr().out)
    assert f"v1 of {MODEL} is now the candidate; before: nothing" in said[0]
    assert f"v1 of {MODEL} is the candidate already" in said[1]
    monkeypatch.setattr(sys, "argv", ["ofa-pipeline", "promote", f"models:/{MODEL}@candidate"])
    with pytest.raises(SystemExit):
        main()
    assert f"v1 of {MODEL} is the candidate already" in capsys.readouterr().out
