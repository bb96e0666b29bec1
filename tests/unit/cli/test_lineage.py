"""`ofa-pipeline lineage`: a table for people, JSON for programs."""

import json
import sys

import pytest

from ofa_pipeline.cli import main
from ofa_pipeline.documents.lineage import LineageAnswer
from ofa_pipeline.registry import Origin
from tests.support.certified import register_certified, write_certified_bundle
from tests.support.registry import InMemoryRegistry


@pytest.fixture
def registry(monkeypatch, tmp_path):
    registry = InMemoryRegistry()
    register_certified(registry, write_certified_bundle(tmp_path / "bundle"))
    monkeypatch.setattr("ofa_pipeline.registry.open_registry", lambda *_, **__: registry)
    return registry


@pytest.fixture
def cli(monkeypatch, registry, capsys):
    """Run the command on a version; returns exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ofa-pipeline", "lineage", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err

    return run


def test_json_is_as_its_schema_says(cli):
    code, out, _ = cli("models:/ofa-tiny-cpu/1", "--json")
    answer = json.loads(out)
    assert code == 0
    assert LineageAnswer.from_dict(answer).to_dict() == answer


def test_table_tells_each_link_the_files_and_the_commit(cli, registry):
    registry.came_from = Origin(
        run_id="r1", commit="c0ffee" * 7, branch="main", changes=("params.yaml",)
    )
    _, out, err = cli("models:/ofa-tiny-cpu/1")
    for text in ("train_supernet@expand_2", "5afe5afe5afe", "prepare_dataset", "da7ada7ada7a"):
        assert text in out
    assert "model.onnx" in out
    assert f"commit: {'c0ffee' * 7} (main); these files differed from it: params.yaml" in out
    assert "cannot be reproduced" in err


def test_nothing_recorded_is_said(cli):
    _, out, _ = cli("models:/ofa-tiny-cpu/1")
    assert "commit: none was recorded" in out
    assert "not recorded" in out


def test_version_that_is_not_there_is_refused_with_the_nearest(cli):
    code, _, err = cli("models:/ofa-tiny-cpu/7")
    assert code == 1
    assert "ofa-tiny-cpu" in err
