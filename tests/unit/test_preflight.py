"""What is found out before hours of work: the same list for `params check` and `run`."""

import http.server
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from ofa_pipeline.artifacts import Layout, write_artifact
from ofa_pipeline.errors import CheckpointError, ClusterError, OfaPipelineError
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.preflight import check_before_work, check_prefect, look
from ofa_pipeline.stages import find_stage, param_sections
from tests.support.networks import tiny_space
from tests.support.weights import write_supernet

SHIPPED = load_params(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture(autouse=True)
def no_servers(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def with_values(**sections: dict) -> Params:
    """Return the shipped params with some values of sections replaced."""
    changed = {
        name: getattr(SHIPPED, name).model_copy(update=values) for name, values in sections.items()
    }
    return SHIPPED.model_copy(update=changed)


def with_phases(**phases: dict) -> Params:
    """Return the shipped params with some keys of phases replaced."""
    changed = {name: SHIPPED.phases[name].model_copy(update=keys) for name, keys in phases.items()}
    return SHIPPED.model_copy(update={"phases": {**SHIPPED.phases, **changed}})


def of_source(source):
    return with_values(dataset={"source": source})


def states(params, root):
    return {finding.what: finding.state for finding in look(params, root)}


def found(params, root, what):
    return next(finding.found for finding in look(params, root) if finding.what == what)


def in_int8(**sections):
    """Return params whose first device computes in int8, with some values of sections replaced."""
    params = with_values(**sections)
    device = params.devices["cpu-onnxruntime"]
    card = device.card.model_copy(update={"precision": "int8"})
    devices = {"cpu-onnxruntime": device.model_copy(update={"card": card})}
    return params.model_copy(update={"devices": devices})


def make_folder(root, *names, files=40):
    for name in names:
        (root / name).mkdir(parents=True)
        for index in range(files):
            (root / name / f"{index}.png").touch()


def test_shipped_params_are_right(tmp_path):
    assert set(states(SHIPPED, tmp_path).values()) == {"right"}
    check_before_work(SHIPPED, tmp_path)


def test_a_device_in_int8_without_enough_calibration_images_is_said_before_training(tmp_path):
    check_before_work(in_int8(), tmp_path)
    with pytest.raises(OfaPipelineError, match=r"at least 32 calibration images.*found 16"):
        check_before_work(in_int8(evaluation={"calibration_images": 16}), tmp_path)
    make_folder(tmp_path / "images", "a", "b", files=100)
    with pytest.raises(OfaPipelineError, match=r"at least 32 calibration images.*found 10"):
        check_before_work(in_int8(dataset={"source": "image_folder:images"}), tmp_path)


def test_what_was_looked_at_is_said_with_its_value(tmp_path):
    make_folder(tmp_path / "images", "daisy", "rose/red", "tulip")
    (tmp_path / "images" / ".DS_Store").touch()
    params = of_source("image_folder:images")
    text = "image_folder:images: 3 folders (daisy, rose, tulip), 120 files"
    assert found(params, tmp_path, "source") == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("image_folder:nope", "nope does not exist"),
        ("image_folder:file", "file is a file"),
        ("image_folder:flat", "it has no folders"),
        ("image_folder:hollow", "folders are empty"),
        ("image_folder:~nobody-here/x", "no such user"),
        ("image_folder:/proc/1/nope", "does not exist"),
        ("parquet:nope.parquet", "does not exist"),
        ("parquet:file", "must be a Parquet file"),
        ("parquet:flat", "must hold Parquet files"),
        ("torchvision:CIFAR11", "Did you mean 'CIFAR10'"),
        ("torchvision:CIFAR10", "OFA_TORCHVISION_ROOT"),
        ("image_folder:few", "at least one batch of 64 images"),
        ("image_folder:one", "at least two classes, it has one: 'a'"),
        ("image_folder:hundred", "100 in all, of which about 63 are left to train on"),
    ],
)
def test_source_that_can_not_be_used_is_said(tmp_path, monkeypatch, source, message):
    monkeypatch.setenv("OFA_TORCHVISION_ROOT", str(tmp_path / "torchvision"))
    (tmp_path / "file").write_text("text")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").touch()
    make_folder(tmp_path / "hollow", "a", "b", files=0)
    make_folder(tmp_path / "few", "a", "b", files=2)
    make_folder(tmp_path / "hundred", "a", "b", files=50)
    make_folder(tmp_path / "one", "a/b", "a/c", files=100)
    with pytest.raises(OfaPipelineError, match=message):
        check_before_work(of_source(source), tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_may_not_be_entered_is_said(tmp_path):
    make_folder(tmp_path / "images", "a", "b")
    (tmp_path / "images" / "a").chmod(0)
    try:
        with pytest.raises(OfaPipelineError, match="must be readable"):
            check_before_work(of_source("image_folder:images"), tmp_path)
    finally:
        (tmp_path / "images" / "a").chmod(0o755)


def test_class_name_that_is_not_utf8_is_said(tmp_path):
    make_folder(tmp_path / "images", os.fsdecode(b"caf\xe9"), "tea")
    with pytest.raises(OfaPipelineError, match=r"is not UTF-8\. Rename it"):
        check_before_work(of_source("image_folder:images"), tmp_path)


def test_splits_that_the_folder_brings_are_said(tmp_path):
    make_folder(tmp_path / "images", "train/a", "train/b", "test/a", "test/b")
    text = found(of_source("image_folder:images"), tmp_path, "source")
    assert text.endswith("2 folders (test, train), 160 files, splits of its own: test")


def test_links_in_a_circle_are_counted_once(tmp_path):
    make_folder(tmp_path / "images", "a", "b")
    (tmp_path / "images" / "a" / "up").symlink_to(tmp_path / "images" / "a")
    assert "2 folders (a, b), 80 files" in found(
        of_source("image_folder:images"), tmp_path, "source"
    )


def test_long_listing_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_pipeline.preflight.source.GLANCE_S", -1.0)
    make_folder(tmp_path / "images", "a", "b")
    text = found(of_source("image_folder:images"), tmp_path, "source")
    assert text.endswith("at least 0 files")


def test_device_is_added_without_the_images(tmp_path):
    check_before_work(of_source("image_folder:nope"), tmp_path, reads_images=False)


def test_all_faults_are_said_together(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "127.0.0.1:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    params = of_source("image_folder:nope")
    with pytest.raises(OfaPipelineError, match=r"^3 things must be put right") as caught:
        check_before_work(params, tmp_path)
    assert all(name in str(caught.value) for name in ("nope", "127.0.0.1:9", "PREFECT_API_URL"))
    assert states(params, tmp_path)["source"] == "wrong"
    assert states(params, tmp_path)["registry"] == "wrong"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accelerator": "cuda"}, "is not usable here"),
        ({"threads": 4096}, "threads of a device must be 1 to"),
    ],
)
def test_device_that_this_machine_lacks_is_said(tmp_path, settings, message):
    if "accelerator" in settings and shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    device = SHIPPED.devices["cpu-pytorch"]
    card = device.card.model_copy(update=settings)
    params = SHIPPED.model_copy(update={"devices": {"d": device.model_copy(update={"card": card})}})
    with pytest.raises(OfaPipelineError, match=message):
        check_before_work(params, tmp_path)


@pytest.mark.parametrize(
    ("sections", "what"),
    [
        ({"dataset": {"image_size_px": 20}}, "image sizes"),
        ({"training": {"threads": 4096}}, "training.threads"),
        ({"search": {"population": 10**9, "verify_top_k": 1}, "space": {"depths": (1,)}}, "search"),
    ],
)
def test_what_looks_wrong_is_doubted_and_does_not_stop(tmp_path, sections, what):
    params = with_values(**sections)
    assert states(params, tmp_path)[what] == "doubtful"
    check_before_work(params, tmp_path)


@pytest.mark.parametrize(
    ("largest", "elastic", "text"),
    [
        ({}, {"cosine": (0.5, 1)}, "begins at 0.5, but that of phases.largest ends at 0.3"),
        ({}, {"cosine": (0.1, 1)}, "begins at 0.1, but that of phases.largest ends at 0.3"),
        ({}, {"cosine": (0.3, 0.6)}, "phases.elastic ends at 0.6, but it is the last"),
        ({"cosine": (0.2, 0.3)}, {}, "phases.largest begins at 0.2, but it is the first"),
        ({}, {"cosine": (0, 1)}, "phases.largest ends at 0.3, but that of phases.elastic begins"),
        ({"warmup_epochs": 5}, {}, "warms up for 5 epochs and trains for 4 after it"),
    ],
)
def test_rates_that_jump_or_never_come_down_are_doubted(tmp_path, largest, elastic, text):
    params = with_phases(largest=largest, elastic=elastic)
    doubts = check_before_work(params, tmp_path)
    assert any(text in doubt.found for doubt in doubts if doubt.what == "learning rates")


def test_restarts_and_one_cosine_of_all_phases_are_not_doubted(tmp_path):
    for parts in [((0, 0.3), (0.3, 1)), ((0, 1), (0, 1))]:
        cosines = {"largest": {"cosine": parts[0]}, "elastic": {"cosine": parts[1]}}
        assert not check_before_work(with_phases(**cosines), tmp_path)


def test_a_last_phase_that_trains_the_largest_alone_is_doubted(tmp_path):
    params = with_phases(elastic={"sampling": "largest", "subnets_per_step": 1})
    [doubt] = check_before_work(params, tmp_path)
    assert "phases.elastic is the last" in doubt.found
    assert "never trained" in doubt.found


def compiling():
    training = SHIPPED.compute.training.model_copy(update={"compile": True})
    return with_values(compute={"training": training})


@pytest.mark.parametrize("lacks", [None, "triton", "compiler"])
def test_compiling_needs_triton_and_a_compiler_on_a_gpu(tmp_path, monkeypatch, lacks):
    monkeypatch.setattr("ofa_pipeline.training.graphs.compute_device", lambda: "cuda")
    monkeypatch.setattr("ofa_pipeline.training.graphs.LARGEST_PX", 20)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda _: None if lacks == "triton" else "found"
    )
    monkeypatch.setenv("CC", "no-such-compiler" if lacks == "compiler" else "sh")
    if lacks is None:
        assert states(compiling(), tmp_path)["compiler"] == "right"
        return
    name = {"triton": "Triton", "compiler": "a C compiler"}[lacks]
    with pytest.raises(OfaPipelineError, match=f"compute.training.compile needs {name}"):
        check_before_work(compiling(), tmp_path)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_compiling_without_effect_is_said(tmp_path, monkeypatch, device):
    monkeypatch.setattr("ofa_pipeline.training.graphs.compute_device", lambda: device)
    [doubt] = check_before_work(compiling(), tmp_path)
    assert (doubt.what, doubt.state) == ("compiler", "doubtful")
    assert "compiler" not in states(SHIPPED, tmp_path)


def test_tuning_a_predictor_without_settings_is_refused(tmp_path):
    check_before_work(with_values(predictor={"tune": True}), tmp_path)
    params = with_values(predictor={"kind": "ridge", "tune": True})
    with pytest.raises(OfaPipelineError, match=r"no effect on ridge.*one of gaussian_process"):
        check_before_work(params, tmp_path)


def test_more_subnets_than_are_drawn_are_refused(tmp_path):
    params = with_values(latency={"num_subnets": 1900, "num_holdout": 101})
    with pytest.raises(OfaPipelineError, match="at most 2000"):
        check_before_work(params, tmp_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:4200/api", "must be an address such as http://"),
        ("localhost:4200", "must be an address"),
        ("http://", "must be an address"),
        ("http://[::1", "must be an address"),
        ("http://127.0.0.1:99999/api", "must be an address"),
        ("http://user:secret@127.0.0.1:9/api", r"http://127\.0\.0\.1:9/api.*refused"),
        ("http://nowhere.invalid/api", "nowhere.invalid"),
    ],
)
def test_prefect_server_that_is_not_there_is_named_without_its_password(url, message):
    with pytest.raises(OfaPipelineError, match=message) as caught:
        check_prefect({"PREFECT_API_URL": url})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "answers"), [(200, True), (404, True), (401, True), (503, False)]
)
def test_prefect_server_that_answers_is_right(monkeypatch, status, answers):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # of a company: not for us

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        try:
            if answers:
                assert check_prefect({"PREFECT_API_URL": url}) == url
            else:
                with pytest.raises(OfaPipelineError, match="503"):
                    check_prefect({"PREFECT_API_URL": url})
        finally:
            server.shutdown()
            thread.join()


def test_full_disk_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_pipeline.preflight.machine.MIN_FREE_BYTES", 2**62)
    with pytest.raises(OfaPipelineError, match="MiB free, found"):
        check_before_work(SHIPPED, tmp_path)


@pytest.mark.parametrize(
    ("first", "text"),
    [
        ({"epochs": 1}, "1 phase, 1 epoch"),
        ({"epochs": 2, "warmup_epochs": 1}, "1 phase, 3 epochs"),
        ({"epochs": 1, "min_steps": 1500}, "1 phase, at least 1 epoch and 1,500 steps"),
    ],
)
def test_how_long_is_trained_is_said_as_it_is(tmp_path, first, text):
    values = {"epochs": 1, "min_steps": 0, "warmup_epochs": 0} | first
    phase = SHIPPED.phases["largest"].model_copy(update=values)
    params = SHIPPED.model_copy(update={"phases": {"largest": phase}})
    assert found(params, tmp_path, "training") == text


def starting_from(kind, text):
    params = with_values(training={"initial_weights": {kind: text}})
    first = params.phases["largest"].model_copy(update={"start_from": "initial"})
    return params.model_copy(update={"phases": {**params.phases, "largest": first}})


def test_weights_are_looked_at_before_work(tmp_path):
    write_supernet(tmp_path / "own.safetensors", SHIPPED.space.build(), num_classes=4)
    params = starting_from("supernet", "own.safetensors")
    check_before_work(params, tmp_path)
    text = found(params, tmp_path, "initial weights")
    assert text.startswith("supernet own.safetensors: of 4 classes, fits the space; SHA-256 ")
    assert "initial weights" not in states(SHIPPED, tmp_path)


def test_weights_that_do_not_fit_are_a_fault_before_work(tmp_path):
    write_supernet(tmp_path / "own.safetensors", tiny_space())
    params = starting_from("supernet", "own.safetensors")
    with pytest.raises(CheckpointError, match=r"must fit the space in params.yaml"):
        check_before_work(params, tmp_path)
    assert states(params, tmp_path)["initial weights"] == "wrong"
    check_before_work(params, tmp_path, reads_images=False)  # nothing is trained then


def test_weights_to_be_downloaded_are_only_named(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_PIPELINE_CACHE", str(tmp_path / "cache"))
    text = found(starting_from("published", "ofa_resnet50"), tmp_path, "initial weights")
    assert text.startswith("published ofa_resnet50: to be downloaded")


def test_weights_that_were_imported_need_not_be_there_any_more(tmp_path):
    params = starting_from("supernet", "gone.safetensors")
    names = param_sections(find_stage("import_weights"), "supernet")
    with write_artifact(
        Layout(tmp_path).initial,
        stage="import_weights",
        item="supernet",
        params=params.sections(names),
        inputs=[],
    ):
        pass
    assert found(params, tmp_path, "initial weights").endswith("imported already")
    other = starting_from("supernet", "other.safetensors")
    assert states(other, tmp_path)["initial weights"] == "wrong"


@pytest.mark.parametrize(
    ("keys", "doubted"),
    [({}, []), ({"executor": "local"}, []), ({"gpus_per_worker": 1.0}, ["gpus_per_worker of"])],
)
def test_settings_of_a_cluster_that_is_not_used_are_doubtful(tmp_path, keys, doubted):
    fan_out = type(SHIPPED.compute.fan_out)(**keys)
    doubts = check_before_work(with_values(compute={"fan_out": fan_out}), tmp_path)
    found = [doubt.found for doubt in doubts if doubt.what == "cluster"]
    assert [text[: len(begin)] for text, begin in zip(found, doubted, strict=True)] == doubted


def test_launcher_is_looked_at_before_work(tmp_path):
    def launched(line, **training):
        ranks = SHIPPED.compute.training.model_copy(update={"launch": line})
        return with_values(compute={"training": ranks}, training=training)

    assert states(launched("env"), tmp_path)["ranks"] == "right"
    with pytest.raises(OfaPipelineError, match="'no-launcher' is not found"):
        check_before_work(launched("no-launcher -n 2"), tmp_path)
    with pytest.raises(OfaPipelineError, match="batches of 64 with groups of the whole batch"):
        check_before_work(launched("env", batch_norm_images=None), tmp_path)
    assert states(launched("torchrun --nproc-per-node=2"), tmp_path)["ranks"] == "right"
    with pytest.raises(OfaPipelineError, match=r"at most 2 ranks.*starts 3"):
        check_before_work(launched("torchrun --nproc-per-node=3"), tmp_path)
    (tmp_path / "start.sh").write_text("#!/bin/sh\n")
    (tmp_path / "start.sh").chmod(0o755)
    assert states(launched("./start.sh"), tmp_path)["ranks"] == "right"
    check_before_work(launched("no-launcher"), tmp_path, reads_images=False)  # nothing is trained


def test_cluster_is_looked_at_before_work(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        fan_out = SHIPPED.compute.fan_out.model_copy(update={"executor": "ray", "address": address})
        params = with_values(compute={"fan_out": fan_out})
        assert states(params, tmp_path)["cluster"] == "wrong"
        with pytest.raises(ClusterError, match=f"answer at {address}"):
            check_before_work(params, tmp_path)
    assert "cluster" not in states(SHIPPED, tmp_path)
