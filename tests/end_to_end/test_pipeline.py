"""The whole pipeline on real images, small: by the flow, and by `dvc repro` in another folder."""

import json
import re
import shutil
import sqlite3
import subprocess

import nbformat
import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.data import open_dataset
from ofa_pipeline.params import load_params
from ofa_pipeline.registry import budget_alias, open_registry, registered_subnets
from ofa_pipeline.stages import warnings_of_run
from ofa_pipeline.workspace import checkout_folder
from tests.support.workspace import run_command, tiny_workspace

WITHOUT_CLOCK = [
    "artifacts/dataset",
    "artifacts/supernet/largest",
    "artifacts/supernet/expand",
    "artifacts/accuracy",
    "artifacts/predictor",
]
"""Artifacts of the stages that do not measure time."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def by_flow(tmp_path_factory):
    """A workspace after `ofa-pipeline run`, and what that printed."""
    root = tiny_workspace(tmp_path_factory.mktemp("flow"))
    shown = run_command(
        "ofa-pipeline", "run", workspace=root, PYTHONWARNINGS="default", **ONE_THREAD
    )
    return root, shown


def test_run_ends_without_warnings_of_python(by_flow):
    _, shown = by_flow
    assert "never awaited" not in shown.stderr
    assert re.findall(r"\w+Warning", shown.stderr) == []


def test_prefect_s_records_say_what_ran(by_flow):
    root, _ = by_flow
    with sqlite3.connect(root / ".prefect" / "prefect.db") as records:
        flow_runs = {name for (name,) in records.execute("SELECT name FROM flow_run")}
        task_runs = {name for (name,) in records.execute("SELECT name FROM task_run")}
        tags_of_tasks = {tags for (tags,) in records.execute("SELECT tags FROM task_run")}
        artifacts = {key for (key,) in records.execute("SELECT key FROM artifact")}
    records.close()
    assert flow_runs == {f"{root.name}: whole pipeline"}
    assert f"{root.name}: search@cpu-onnxruntime" in task_runs
    assert all(name.startswith(f"{root.name}: ") for name in task_runs)
    assert tags_of_tasks == {"[]"}  # Prefect's server is asked for a limit for each tag of a task
    assert artifacts == {f"progress-{root.name}", f"summary-{root.name}"}


def test_git_takes_settings_and_results_in_brief_and_nothing_else(by_flow):
    root, _ = by_flow
    (root / ".env").write_text("PREFECT_API_KEY=secret")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    try:
        # Nobody's own excludes: those of the workspace have to do.
        own = ["git", "-c", "core.excludesFile="]
        subprocess.run([*own, "add", "-A"], cwd=root, check=True)
        listed = subprocess.run([*own, "ls-files"], cwd=root, check=True, capture_output=True)
    finally:
        shutil.rmtree(root / ".git")
    taken = {name for name in listed.stdout.decode().split() if not is_code(name)}
    settings = {".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"}
    assert taken - {".dvc/.gitignore"} == {*settings, "dvc.lock", "images.parquet"}


def is_code(name):
    return name.startswith("ofa_pipeline/")  # a copy here, elsewhere a link that is ignored


def test_run_prints_every_subnet_and_the_report(by_flow):
    root, shown = by_flow
    for word in ("cpu-onnxruntime", "cpu-pytorch", "top-1 on test", "measured ms", "MACs"):
        assert word in shown.stdout
    assert str(root / "artifacts" / "report" / "report.html") in shown.stdout
    assert (root / "artifacts" / "report" / "report.html").stat().st_size > 1000


def test_run_says_what_was_read_once(by_flow):
    _, shown = by_flow
    assert re.search(r"^dataset parquet:images\.parquet$", shown.stderr, re.MULTILINE)
    assert "800 read, none lost" in shown.stderr


def test_run_leaves_nothing_for_dvc_to_do(by_flow):
    root, _ = by_flow
    # The listing of the source is made each time: DVC itself does not look at the images.
    status = run_command("dvc", "status", workspace=root).stdout
    assert status.split() == ["list_source:", "always", "changed"]
    again = run_command("dvc", "repro", workspace=root).stdout
    assert re.findall("Running stage '(.*)'", again) == ["list_source"]


def test_second_run_skips_every_stage_and_says_so(by_flow):
    root, first = by_flow
    second = run_command("ofa-pipeline", "run", workspace=root, **ONE_THREAD)
    ran = re.findall(r": (\S+): done in", first.stderr, re.MULTILINE)
    skipped = re.findall(r": (\S+): skipped, nothing changed", second.stderr, re.MULTILINE)
    assert sorted(skipped) == sorted(ran)
    assert len(ran) == 14  # 2 phases, 2 devices
    assert "done in" not in second.stderr
    assert "800 read" not in second.stderr
    assert "list_source: checked: 1 file\n" in first.stderr
    assert "list_source: checked: 1 file, unchanged\n" in second.stderr
    assert [line for line in second.stdout.splitlines() if "│" in line] == [
        line for line in first.stdout.splitlines() if "│" in line
    ]


def test_every_warning_is_told_at_once_and_at_the_end_also_of_skipped_stages(by_flow):
    root, first = by_flow
    layout, params = Layout(root), load_params(root / "params.yaml")
    second = run_command("ofa-pipeline", "run", workspace=root, **ONE_THREAD)
    page = (layout.report / "report.html").read_text()
    for warning in warnings_of_run(layout, params):  # so little training leaves some
        assert f"  {warning.address}: {warning.text}\n" in first.stderr
        assert f"  {warning.address}: warning: {warning.text}\n" in first.stderr
        assert f"  {warning.address}: {warning.text}\n" in second.stderr
        assert f"<code>{warning.address}</code>" in page


def test_dvc_alone_makes_the_same_artifacts(by_flow, tmp_path_factory):
    root, _ = by_flow
    other = tiny_workspace(tmp_path_factory.mktemp("dvc"))
    run_command("dvc", "repro", "fit_predictor", workspace=other, **ONE_THREAD)
    for folder in WITHOUT_CLOCK:
        by_both = [Manifest.read(where / folder, made_by="test").digest for where in (root, other)]
        assert by_both[0] == by_both[1], folder


def test_every_pick_is_registered_with_accuracy_and_latency(by_flow):
    root, _ = by_flow
    params = load_params(root / "params.yaml")
    for device in params.devices:
        picks = json.loads((Layout(root).search(device) / "picks.json").read_text())["picks"]
        found = registered_subnets(Layout(root), params, device)
        assert {item.record.arch.arch_id for item in found} == {item["arch_id"] for item in picks}
        for item in found:
            assert 0 < item.record.accuracy_top1 <= 1
            assert item.record.latency[device].p50_ms > 0


def test_registry_alone_answers_which_subnet_is_best(by_flow):
    root, _ = by_flow
    command = ("best", "--device", "cpu-onnxruntime", "--max-latency-ms", "1000", "--json")
    best = json.loads(run_command("ofa-pipeline", *command, workspace=root).stdout)
    listed = run_command(
        "ofa-pipeline", "subnets", "-d", "cpu-onnxruntime", "--json", workspace=root
    )
    assert best["accuracy_top1"] == max(item["accuracy_top1"] for item in json.loads(listed.stdout))


AS_REGISTERED = """
import sys
sys.modules["ofa_pipeline"] = None  # importing it fails
import mlflow.pyfunc, numpy as np
images, answers, *uris = sys.argv[1:]
predicted = [mlflow.pyfunc.load_model(uri).predict(np.load(images))["label"] for uri in uris]
np.save(answers, np.stack(predicted))
"""
"""Answers of registered versions, by MLflow alone."""


def test_registered_versions_answer_as_they_were_evaluated(by_flow, tmp_path):
    root, _ = by_flow
    params = load_params(root / "params.yaml")
    images = open_dataset(Layout(root).dataset).split("test").images()
    np.save(tmp_path / "images.npy", images.permute(0, 2, 3, 1).numpy())
    subnets, evaluated = [], []
    for device in params.devices:
        table = pq.read_table(Layout(root).subnets(device) / "predictions.parquet")
        arch_ids = np.array(table["arch_id"].to_pylist())
        for item in registered_subnets(Layout(root), params, device):
            subnets.append(item.model_uri)
            is_its = arch_ids == item.record.arch.arch_id
            evaluated.append(table["predicted"].to_numpy()[is_its])
    files = (str(tmp_path / "images.npy"), str(tmp_path / "answers.npy"))
    run_command(
        "python",
        "-c",
        AS_REGISTERED,
        *files,
        *subnets,
        workspace=tmp_path,
        MLFLOW_TRACKING_URI=f"sqlite:///{root}/mlflow.db",
    )
    assert (np.load(files[1]) == np.stack(evaluated)).all()


def test_alias_of_each_budget_names_what_best_answers(by_flow):
    root, _ = by_flow
    registry = open_registry(root)
    client = MlflowClient(registry.tracking_uri)
    for subnet in registry.list_subnets():
        record = subnet.record
        aliases = client.get_registered_model(record.model_name).aliases
        assert record.model_name.startswith("ofa-images-")
        for budget_ms in record.budgets_ms:
            best = registry.best(device=record.device, max_latency_ms=budget_ms)
            assert int(aliases[budget_alias(budget_ms)]) == best.version


def test_tour_runs_from_top_to_bottom(by_flow, tmp_path):
    root, _ = by_flow
    tour, executed = checkout_folder() / "examples" / "tour.ipynb", tmp_path / "tour.ipynb"
    words = ("jupyter", "execute", "--output", executed, tour)
    run_command(*words, workspace=tmp_path, OFA_WORKSPACE=str(root))
    cells = [cell for cell in nbformat.read(executed, as_version=4).cells if "outputs" in cell]
    outputs = [output for cell in cells for output in cell.outputs]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert [output for output in outputs if output.get("name") == "stderr"] == []


def test_registry_that_lost_its_subnets_gets_them_again(by_flow):
    root, _ = by_flow
    (root / "mlflow.db").unlink()
    again = run_command("ofa-pipeline", "run", workspace=root, **ONE_THREAD)
    ran = re.findall(r": (\S+): done in", again.stderr, re.MULTILINE)
    # The report is among the files of a run there, too.
    assert sorted(ran) == ["register@cpu-onnxruntime", "register@cpu-pytorch", "report"]
    assert "v1" in again.stdout


def test_unreachable_registry_is_found_before_any_work(by_flow):
    root, _ = by_flow
    shown = run_command(
        "ofa-pipeline",
        "run",
        workspace=root,
        check=False,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )
    assert shown.returncode == 1
    assert "MLflow server must be reachable" in shown.stderr
    assert "prepare_dataset" not in shown.stderr
