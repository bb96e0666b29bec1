"""The step of `prefect.yaml`, given what Prefect makes of its inputs on a worker."""

import os
from pathlib import Path

import pytest
import yaml
from prefect.utilities.importtools import import_object
from prefect.utilities.templating import apply_values

from ofa_pipeline.errors import OfaPipelineError

[STEP] = yaml.safe_load((Path(__file__).parents[3] / "prefect.yaml").read_text())["pull"]


def run():
    [(name, inputs)] = STEP.items()
    return import_object(name)(**apply_values(inputs, os.environ))


@pytest.fixture(autouse=True)
def _comes_back(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_the_run_is_in_the_workspace_of_the_worker(monkeypatch, tmp_path):
    root = tmp_path / "mine"
    root.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).touch()
    monkeypatch.setenv("OFA_WORKSPACE", str(root))
    assert run() == {"directory": str(root)}
    assert Path.cwd() == root


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "is not set"),
        ("", "is not set"),
        ("here", "'here', which is relative"),
        ("/nowhere", r"/nowhere has no params\.yaml and no dvc\.yaml"),
    ],
)
def test_a_worker_without_a_workspace_is_told_what_to_set(monkeypatch, value, said):
    before = Path.cwd()
    monkeypatch.delenv("OFA_WORKSPACE", raising=False)
    if value is not None:
        monkeypatch.setenv("OFA_WORKSPACE", value)
    with pytest.raises(OfaPipelineError, match=f"OFA_WORKSPACE of the worker must be .*{said}"):
        run()
    assert Path.cwd() == before
