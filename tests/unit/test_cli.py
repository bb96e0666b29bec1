"""The command line: what it says, and the exit codes that its help promises."""

import errno
import json
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from ofa_pipeline.cli import app, main
from ofa_pipeline.cli.display import Display, duration_text, progress_text
from ofa_pipeline.cli.output import describe_error
from ofa_pipeline.cli.subnets import subnet_table
from ofa_pipeline.errors import (
    DeviceError,
    InfeasibleConstraintError,
    ParamsError,
    WorkspaceBusyError,
)
from ofa_pipeline.exit_codes import exit_code_of
from ofa_pipeline.progress import ProgressEvent, Reporter
from ofa_pipeline.registry import HomeDataset, RegisteredSubnet
from ofa_pipeline.stages import STAGES
from ofa_pipeline.stages.events import EventPipe, StageEvent
from tests.support.registry import InMemoryRegistry, subnet_record, write_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cli(monkeypatch, tmp_path, capsys):
    """Run a command in this process as the program would; returns exit code, stdout and stderr."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ofa-pipeline", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err

    return run


def test_help_names_every_command_and_the_exit_codes():
    text = CliRunner().invoke(app, ["--help"]).output
    for name in ("run", "stage", "init", "best", "subnets", "pull", "predict", "doctor", "params"):
        assert name in text
    assert "Exit codes" in text


def test_help_of_stage_names_every_stage():
    text = CliRunner().invoke(app, ["stage", "--help"], terminal_width=1000).output
    assert all(stage.name in text.replace("\n", "") for stage in STAGES)


def test_help_imports_nothing_heavy():
    heavy = ("torch", "mlflow", "prefect", "pydantic", "numpy")
    probe = f"import sys, ofa_pipeline.cli; print([n for n in {heavy} if n in sys.modules])"
    command = [sys.executable, "-c", probe]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.skipif(find_spec("triton") is None, reason="PyTorch came without Triton")
def test_what_training_imports_ends_without_a_word():
    program = "import sys, triton._C.libtriton; from ofa_pipeline.cli import main; main()"
    words = [sys.executable, "-c", program, "--version"]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ended.stderr == ""


def test_version_is_shown(cli):
    code, out, _ = cli("--version")
    assert (code, out.split()[0]) == (0, "ofa-pipeline")


def test_params_check_says_what_the_file_asks_for(cli):
    code, out, _ = cli("params", "check")
    assert code == 0
    assert "cpu-onnxruntime" in out


def test_params_check_says_what_it_looked_at_and_what_is_wrong(cli, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("source: fash", "source: image_folder:nope # "))
    code, out, err = cli("params", "check")
    assert code == 1
    assert f"no source: image_folder must be a folder of class folders, {tmp_path}/nope" in out
    assert "ok device cpu-pytorch: pytorch" in out
    assert "not checked: that every image can be decoded" in out
    assert "nope does not exist" in err
    assert err.count("\n") == 1


def test_params_check_of_a_file_elsewhere_looks_beside_it(cli, tmp_path):
    (tmp_path / "other" / "images" / "a").mkdir(parents=True)
    (tmp_path / "other" / "images" / "b").mkdir()
    for index in range(128):
        (tmp_path / "other" / "images" / "a" / f"{index}.png").touch()
    text = (tmp_path / "params.yaml").read_text()
    file = tmp_path / "other" / "params.yaml"
    file.write_text(text.replace("source: fash", "source: image_folder:images # "))
    code, out, _ = cli("params", "check", str(file))
    assert code == 0
    assert "2 folders (a, b), 128 files" in out


def test_typo_in_params_is_one_line_with_the_right_name(cli, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("momentum:", "momentun:"))
    code, _, err = cli("params", "check")
    assert code == 1
    assert "training.momentun" in err
    assert "'momentum'" in err
    assert "Traceback" not in err
    assert err.count("\n") == 1


def test_debug_shows_the_traceback_wherever_it_stands(cli, tmp_path):
    (tmp_path / "params.yaml").unlink()
    assert "Traceback" in cli("params", "check", "--debug")[2]
    assert "Traceback" in cli("--debug", "params", "check")[2]


def test_unknown_stage_suggests_the_nearest(cli):
    code, _, err = cli("stage", "serch")
    assert code == 1
    assert "Did you mean 'search'?" in err


def test_stage_without_its_item_names_the_items(cli):
    code, _, err = cli("stage", "search")
    assert code == 1
    assert "cpu-onnxruntime, cpu-pytorch" in err


def test_item_that_a_stage_has_not_is_refused(cli):
    code, _, err = cli("stage", "fit_predictor", "--item", "elastic")
    assert code == 1
    assert "has no items" in err


def test_stage_that_lacks_its_input_says_how_to_make_it(cli):
    code, _, err = cli("stage", "fit_predictor")
    assert code == 1
    assert "missing" in err


def test_wrong_usage_ends_with_two(cli):
    assert cli("best", "--device", "cpu")[0] == 2


def test_init_makes_a_workspace_and_leaves_what_is_there(cli, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "params.yaml").write_text("mine")
    code, out, _ = cli("init", str(folder))
    assert code == 0
    assert (folder / "params.yaml").read_text() == "mine"
    assert (folder / "dvc.yaml").exists()
    assert (folder / "ofa_pipeline" / "arch").is_dir()
    assert "no_scm = true" in (folder / ".dvc" / "config.local").read_text()
    assert "dvc.yaml" in out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ParamsError("x"), 1),
        (WorkspaceBusyError("x"), 3),
        (InfeasibleConstraintError("x"), 4),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (ValueError("x"), 1),
    ],
)
def test_exit_codes_are_those_of_the_help(error, code):
    assert exit_code_of(error) == code


def test_full_disk_says_what_to_do():
    text = describe_error(OSError(errno.ENOSPC, "No space left on device", "/tmp/x"))
    assert "/tmp/x" in text
    assert "Free space" in text


def test_fault_of_the_program_asks_for_a_report():
    assert "--debug" in describe_error(RuntimeError("boom"))


@pytest.mark.parametrize("error", [DeviceError("no such GPU."), MemoryError()])
def test_an_error_names_the_subnet_that_it_happened_at(error):
    error.add_note("It happened while working on 071192619c 0.")
    assert describe_error(error).endswith("It happened while working on 071192619c 0.")


def test_events_survive_the_pipe(tmp_path):
    path = tmp_path / "events"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    pipe = EventPipe(str(path))
    sent = [
        StageEvent(kind="started"),
        StageEvent(kind="progress", progress=ProgressEvent(label="a", done=1, total=2)),
        StageEvent(kind="failed", error="no", exit_code=4),
    ]
    for event in sent:
        pipe.send(event)
    lines = os.read(reader, 65536).splitlines()
    assert [StageEvent.from_line(line) for line in lines] == sent
    os.close(reader)
    pipe.send(sent[0])  # nobody reads any more: dropped
    pipe.close()


def test_events_are_dropped_when_nobody_reads_or_the_pipe_is_full(tmp_path):
    EventPipe(str(tmp_path / "missing")).send(StageEvent(kind="started"))
    path = tmp_path / "events"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    pipe = EventPipe(str(path))
    for _ in range(1000):
        pipe.send(StageEvent(kind="progress"))
    pipe.close()
    os.close(reader)


def test_that_a_stage_failed_waits_for_room_in_a_full_pipe(tmp_path):
    path = tmp_path / "events"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    pipe = EventPipe(str(path))
    for _ in range(1000):
        pipe.send(StageEvent(kind="progress"))
    failed = StageEvent(kind="failed", error="no")
    sender = threading.Thread(target=pipe.send, args=(failed,))
    sender.start()
    received = os.read(reader, 65536)
    sender.join()
    pipe.close()
    while more := os.read(reader, 65536):
        received += more
    assert received.endswith(failed.to_line())
    os.close(reader)


def test_line_that_was_cut_off_is_no_event():
    assert StageEvent.from_line(b'{"kind": "star') is None
    assert StageEvent.from_line(b"[]") is None


def test_progress_reads_well():
    event = ProgressEvent(
        label="x",
        done=1,
        total=4,
        unit="images",
        rate_per_s=812.3,
        seconds_left=200.0,
        metrics={"loss": 1.23456},
    )
    assert progress_text(event) == "25 %, 812 images/s, 3 min left, loss 1.235"
    assert [duration_text(s) for s in (8, 100, 10_000)] == ["8 s", "2 min", "2.8 h"]
    assert duration_text(500_000) == "5.8 days"


def test_display_writes_lines_where_there_is_no_terminal(capsys):
    with Display(Console(width=100)) as display:
        display.show("search@a", ProgressEvent(label="hello", metrics={"loss": 0.5}))
        display.show("search@a", ProgressEvent(label="work", done=1, total=2))
        display.finish("search@a")
    assert capsys.readouterr().out == "  search@a: hello, loss 0.5\n"


def test_display_marks_a_warning(capsys):
    with Display(Console(width=100)) as display:
        display.show("search@a", ProgressEvent(label="odd [1]", is_warning=True))
    assert capsys.readouterr().out == "  search@a: warning: odd [1]\n"


def test_display_draws_a_bar_on_a_terminal(capsys):
    with Display(Console(width=100, force_terminal=True)) as display:
        reporter = Reporter(lambda event: display.show("search@a", event))
        for _ in reporter.iterate(range(3), "work", total=3, unit="things"):
            pass
    assert "search@a: work" in capsys.readouterr().out


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """A registry with one subnet, wherever the commands look."""
    found = InMemoryRegistry()
    bundle = write_bundle(tmp_path / "bundle")
    found.register(subnet_record(accuracy=0.9, latency_ms=1.0), bundle)
    monkeypatch.setattr("ofa_pipeline.registry.open_registry", lambda *_, **__: found)
    return found


def test_best_answers_from_the_registry(cli, registry):
    code, out, _ = cli("best", "--device", "cpu", "--max-latency-ms", "2", "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["accuracy_top1"], answer["latency_ms"], answer["version"]) == (0.9, 1.0, 1)
    assert answer["model_uri"] == "models:/ofa-tiny-cpu/1"


def test_best_reads_as_a_table_too(cli, registry):
    out = cli("best", "-d", "cpu", "-t", "2")[1]
    assert "90.00%" in out
    assert "models:/ofa-tiny-cpu/1" in out


def test_best_that_nothing_meets_ends_with_four_and_names_the_fastest(cli, registry):
    code, _, err = cli("best", "-d", "cpu", "-t", "0.5")
    assert code == 4
    assert "the fastest of 1 takes 1 ms" in err


def test_best_on_an_unknown_device_is_an_error(cli, registry):
    assert cli("best", "-d", "tpu", "-t", "1")[0] == 1


def test_subnets_lists_what_is_registered(cli, registry):
    assert [item["device"] for item in json.loads(cli("subnets", "--json")[1])] == ["cpu"]
    assert "ofa-tiny-cpu v1" in cli("subnets")[1]


def test_empty_registry_is_named(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/typo.db")
    code, out, _ = cli("subnets")
    assert (code, f"on sqlite:///{tmp_path}/typo.db. Run:" in out) == (0, True)


def test_subnets_of_an_unknown_device_are_an_error_that_names_the_known(cli, registry):
    code, out, err = cli("subnets", "-d", "tpu")
    assert (code, out) == (1, "")
    assert "no subnet measured on 'tpu'" in err
    assert "cpu" in err


def test_errors_do_not_repeat_ten_thousand_characters(cli, registry):
    for words in (
        ("best", "-t", "1", "-d", "x" * 10_000),
        ("best", "-t", "1", "-d", "cpu", "--dataset", "x" * 10_000),
        ("certificate", f"models:/{'x' * 10_000}/1"),
    ):
        code, _, err = cli(*words)
        assert code == 1
        assert len(err) < 1000


@pytest.fixture
def two_datasets(registry, tmp_path):
    """The registry is asked from the workspace of the less accurate subnet."""
    for name, accuracy in [("pets", 0.8), ("cars", 0.95)]:
        record = subnet_record(
            accuracy=accuracy,
            dataset=name,
            model_name=f"ofa-{name}",
            budgets_ms=(0.1, 1.0),
            lineage={"artifacts/dataset": name.encode().hex() * 8},
        )
        registry.register(record, tmp_path / "bundle")
    registry.home = HomeDataset(name="pets")
    return registry


def test_best_of_a_workspace_is_of_its_dataset(cli, two_datasets):
    ask = ("best", "-d", "cpu", "-t", "2", "--json")
    assert json.loads(cli(*ask)[1])["dataset"] == "pets"
    assert json.loads(cli(*ask, "--dataset", "cars")[1])["dataset"] == "cars"
    assert "cars, da7ada7ada7a, pets" in cli(*ask, "--dataset", "any")[2]
    code, _, err = cli(*ask, "--dataset", "dogs")
    assert code == 1
    assert "cars" in err
    two_datasets.home = None
    code, _, err = cli(*ask)
    assert code == 1
    assert "several are registered: cars, da7ada7ada7a, pets" in err


def test_best_says_which_budgets_a_subnet_was_picked_for(cli, two_datasets):
    out = cli("best", "-d", "cpu", "-t", "2")[1]
    assert "picked for the budgets 0.1, 1 ms" in out
    assert "pets" in out


def test_subnets_of_a_workspace_are_of_its_dataset_and_others_are_counted(cli, two_datasets):
    _, out, err = cli("subnets", "--json")
    assert [item["dataset"] for item in json.loads(out)] == ["pets"]
    assert "not shown: 2 subnets of other datasets (cars, da7ada7ada7a)" in err
    assert [item["dataset"] for item in json.loads(cli("subnets", "--json", "--dataset", "any")[1])]
    assert "no subnet of this dataset" in cli("subnets", "--dataset", "dogs")[2]
    assert "dataset" in cli("subnets", "--dataset", "any")[1]


def test_table_tells_the_images_of_one_name_apart(two_datasets):
    records = [
        subnet_record(dataset="pets", lineage={"artifacts/dataset": digest * 16})
        for digest in ("aaaa", "bbbb")
    ]
    subnets = [RegisteredSubnet(record=record, version=1) for record in records]
    table = subnet_table(subnets)
    assert list(table.columns[1].cells) == ["pets aaaaaaaa", "pets bbbbbbbb"]


def test_predict_names_the_class_of_each_image(cli, registry, tmp_path):
    for color in ("red", "blue"):
        Image.new("RGB", (20, 20), color).save(tmp_path / f"{color}.png")
    code, out, _ = cli("predict", "red.png", "blue.png", "--json")
    assert code == 0
    assert [answer["class_name"] for answer in json.loads(out)] == ["red", "blue"]


def test_predict_takes_a_bundle_folder(cli, tmp_path):
    write_bundle(tmp_path / "mine")
    Image.new("RGB", (20, 20), "green").save(tmp_path / "x.png")
    assert "x.png: green" in cli("predict", "x.png", "--bundle", "mine")[1]


def test_predict_without_a_fitting_subnet_says_where_to_look(cli, registry, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "x.png")
    code, _, err = cli("predict", "x.png", "-d", "cpu", "-t", "0.1")
    assert code == 4
    assert "ofa-pipeline subnets" in err


@pytest.mark.parametrize("bundle", ["nowhere", "."])
def test_predict_refuses_a_folder_that_is_no_bundle(cli, bundle):
    code, _, err = cli("predict", "x.png", "--bundle", bundle)
    assert code == 1
    assert "subnet.json" in err


def test_predict_refuses_what_is_no_image(cli, registry, tmp_path):
    (tmp_path / "x.png").write_text("no")
    code, _, err = cli("predict", "x.png")
    assert code == 1
    assert "x.png" in err


def test_a_workspace_of_an_earlier_version_is_said_and_brought_up_to_date(cli, tmp_path):
    cli("init", str(tmp_path / "w"))
    graph = tmp_path / "w" / "dvc.yaml"
    former = graph.read_text().replace("always_changed: true", "always_changed: false")
    graph.write_text(former)
    (tmp_path / "w" / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    remedy = f"ofa-pipeline init {tmp_path / 'w'} --update"
    _, _, err = cli("stage", "list_source", "--workspace", str(tmp_path / "w"))
    assert "warning:" in err
    assert "always_changed of list_source" in err
    assert remedy in err
    code, out, _ = cli(*remedy.split()[1:])
    assert code == 0
    assert "dvc.yaml.before-update-1" in out
    assert graph.read_bytes() == (ROOT / "dvc.yaml").read_bytes()
    assert (tmp_path / "w" / "dvc.yaml.before-update-1").read_text() == former
    assert "warning" not in cli("stage", "list_source", "--workspace", str(tmp_path / "w"))[2]
    assert "is up to date" in cli(*remedy.split()[1:])[1]


def test_verify_names_what_is_damaged_and_ends_with_one(cli, tmp_path):
    assert "holds no artifacts yet" in cli("verify")[1]
    assert cli("stage", "list_source")[0] == 0
    code, out, _ = cli("verify")
    assert code == 0
    assert "ok artifacts/source: 1 files" in out
    manifest = tmp_path / "artifacts" / "source" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_files": 0', '"num_files": 1'))
    code, out, err = cli("verify")
    assert code == 1
    assert "damaged artifacts/source" in out
    assert "manifest.json was changed after it was written" in out
    assert "1 of 1 artifacts are not as they were written" in err


def test_doctor_names_runtimes_devices_and_registry(cli, tmp_path):
    assert cli("init", str(tmp_path))[0] == 0
    code, out, _ = cli("doctor")
    assert code == 0, out
    for word in ("torch", "runtime onnxruntime cpu", "workspace device cpu-pytorch", "mlflow.db"):
        assert word in out


def test_doctor_ends_with_one_where_the_workspace_is_wrong(cli, tmp_path):
    (tmp_path / "params.yaml").unlink()
    assert cli("doctor")[0] == 1


@pytest.mark.parametrize(
    ("reason", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted. Run the same command again"),
        (SystemExit(143), 143, "error: terminated. Run the same command again"),
    ],
)
def test_a_command_that_is_stopped_says_how_to_go_on(cli, monkeypatch, reason, code, message):
    def stopped(*_, **__):
        raise reason

    monkeypatch.setattr("ofa_pipeline.cli.pipeline.run_stage", stopped)
    result = cli("stage", "prepare_dataset")
    assert result[0] == code
    assert message in result[2]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_freed_memory_is_never_kept_where_latency_is_measured(cli, monkeypatch, tmp_path, stage):
    kept = []
    monkeypatch.setattr("ofa_pipeline.memory.keep_freed_memory", lambda: kept.append(stage.name))
    monkeypatch.setattr("ofa_pipeline.cli.pipeline.run_stage", lambda *_: tmp_path)
    monkeypatch.setattr("ofa_pipeline.cli.pipeline.check_item", lambda *_: None)
    item = ["--item", "any"] if stage.item_kind else []
    assert cli("stage", stage.name, *item)[0] == 0
    assert bool(kept) == (stage.name in {"train_supernet", "collect_accuracy"})
