"""What is wrong with a workspace is said before Prefect and DVC start."""

from pathlib import Path

import pytest

from ofa_pipeline.workspace import create_workspace
from tests.support.workspace import read_params, run_command, write_params


@pytest.mark.parametrize(
    ("source", "environment", "message"),
    [
        ("image_folder:nope", {}, "nope does not exist"),
        ("fashion_mnist_sample", {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "Prefect's server"),
        ("fashion_mnist_sample", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, "MLflow server"),
    ],
)
def test_run_says_it_before_anything_starts(
    tmp_path: Path, source: str, environment: dict[str, str], message: str
) -> None:
    create_workspace(tmp_path)
    values = read_params(tmp_path)
    values["dataset"]["source"] = source
    write_params(tmp_path, values)
    shown = run_command("ofa-pipeline", "run", workspace=tmp_path, check=False, **environment)
    assert shown.returncode == 1
    assert message in shown.stderr
    assert "starting Prefect" not in shown.stderr
    assert "fault of the program" not in shown.stderr
    assert not (tmp_path / ".prefect").exists()
