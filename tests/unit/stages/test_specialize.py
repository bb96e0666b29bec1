"""The stage specialize on a tiny supernet with random weights and a device of known latencies."""

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_pipeline.artifacts import (
    Layout,
    digest_file,
    digest_json,
    verify_artifact,
    write_artifact,
    write_json,
)
from ofa_pipeline.data import open_dataset
from ofa_pipeline.devices import LocalDevice, QuantizedFiles, build_runtime, describe_device
from ofa_pipeline.documents import BudgetVerdict
from ofa_pipeline.errors import (
    DeviceError,
    ExportError,
    InfeasibleConstraintError,
    ManifestMismatchError,
)
from ofa_pipeline.evaluation import LargestSubnet
from ofa_pipeline.latency import (
    LatencyProfile,
    design_subnets,
    fit_latency,
    reference_arch,
    save_latency_model,
    save_profile_card,
)
from ofa_pipeline.params import parse_params
from ofa_pipeline.progress import Reporter
from ofa_pipeline.run_warnings import read_warnings
from ofa_pipeline.specialize import Classifier, load_bundle
from ofa_pipeline.specialize.build import SubnetBuilder
from ofa_pipeline.specialize.tuning import tuning_plan
from ofa_pipeline.stages import StageContext, run_stage
from ofa_pipeline.supernet import build_supernet, load_subnet, save_supernet
from ofa_pipeline.tables import PREDICTIONS_SCHEMA, read_table
from ofa_pipeline.training import recipe_of
from tests.support import documents as samples
from tests.support.images import encoded, noise, write_image_parquet
from tests.support.synthetic import true_latency_ms
from tests.support.workspace import read_params, tiny_params

ROOT = Path(__file__).parents[3]
DEVICE = "cpu-onnxruntime"
NUM_CLASSES = 3


class KnownDevice(LocalDevice):
    """Measures what it is told, in turn; the last one for ever."""

    def __init__(self, latencies_ms):
        self.latencies_ms = latencies_ms
        self.files = []

    def opened(self, settings):
        self._runtime = build_runtime(settings)
        return self

    def expect(self, archs, *, files):
        self.expected = {path.name for paths in files.values() for path in paths}

    def measure(self, path, *, resolution_px):
        assert path.name in self.expected  # a device elsewhere has measured nothing else
        waiting = self.latencies_ms[path.parent.name]
        p50_ms = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        self.files.append((path.parent.name, path.name, resolution_px))
        return samples.measurement(p50_ms)


def tiny(device, sections=None):
    values = tiny_params(read_params(ROOT))
    values["training"] |= {"batch_size": 8, "base_batch_size": 8, "threads": 1}
    values["evaluation"] |= {"threads": 1}
    values["dataset"] |= {"image_size_px": 20}
    for name, section in (sections or {}).items():
        values[name] |= section
    params = parse_params(values, origin="a test")
    assert device in params.devices
    return params


@pytest.fixture
def make_context(tmp_path):
    def make(device=DEVICE, sections=None):
        labels = [index % NUM_CLASSES for index in range(90)]
        contents = [encoded(noise(index, height=20, width=20)) for index in range(90)]
        write_image_parquet(tmp_path / "images.parquet", labels=labels, contents=contents)
        context = StageContext(layout=Layout(tmp_path), params=tiny(device, sections), item=device)
        run_stage("prepare_dataset", StageContext(layout=context.layout, params=context.params))
        write_supernet(context)
        write_profile(context)
        return context

    return make


def write(context, folder, *, inputs=()):
    return write_artifact(folder, stage="a test", item=None, params={}, inputs=list(inputs))


def write_supernet(context, summary=None):
    layout, phase = context.layout, context.params.final_phase
    supernet = build_supernet(context.params.space.build(), num_classes=NUM_CLASSES)
    with write(context, layout.supernet(phase), inputs=[layout.dataset]) as writer:
        save_supernet(supernet, writer.folder / layout.supernet_weights(phase).name)
        writer.summary |= {"total_epochs": 2, "first_learning_rate": 0.1, **(summary or {})}


def write_profile(context):
    space = context.params.space.build()
    genes, _ = design_subnets(space, num_classes=NUM_CLASSES, num_subnets=12, num_holdout=0, seed=0)
    latency_ms = true_latency_ms(space, genes)
    profile = LatencyProfile(
        card=describe_device(context.params.device(context.item).card),
        model=fit_latency(space, genes, latency_ms, num_classes=NUM_CLASSES).model,
        reference=reference_arch(space),
        reference_ms=1.0,
        smallest_ms=0.5,
        largest_ms=3.0,
    )
    with write(context, context.layout.latency(context.item)) as writer:
        save_profile_card(profile, writer.folder)
        save_latency_model(profile.model, writer.folder, report=samples.latency_report())


def write_picks(context, *picks):
    """Each pick is a budget in milliseconds and its candidates, best first."""
    layout = context.layout
    inputs = [layout.dataset, layout.supernet(context.params.final_phase)]
    with write(context, layout.search(context.item), inputs=inputs) as writer:
        write_json(writer.folder / layout.PICKS, samples.picks(*picks).to_dict())


@pytest.fixture
def device_of(monkeypatch):
    def install(latencies_ms):
        given = {arch.arch_id: list(values) for arch, values in latencies_ms.items()}
        device = KnownDevice(given)

        def open_device(profile, settings, space, **_):
            return device.opened(settings)

        monkeypatch.setattr(LatencyProfile, "open_device", open_device)
        return device

    return install


def archs(context):
    space = context.params.space.build()
    return space.smallest, space.largest


def bundles_of(context):
    return json.loads((context.layout.subnets(context.item) / "bundles.json").read_text())


def test_each_pick_becomes_a_bundle_with_certificate_lineage_and_predictions(
    make_context, device_of
):
    context = make_context()
    small, large = archs(context)
    write_picks(context, (1.0, [small]), (2.0, [large, small]))
    known = device_of({small: [0.9], large: [1.9]})
    run_stage("specialize", context)
    folder = context.layout.subnets(DEVICE)
    verify_artifact(folder)
    index = bundles_of(context)
    assert [item["name"] for item in index["bundles"]] == [small.arch_id, large.arch_id]
    assert [pick["rank"] for pick in index["picks"]] == [0, 0]
    assert known.files == [
        (arch.arch_id, "model.onnx", arch.resolution_px) for arch in (small, large)
    ]
    bundle = load_bundle(folder / small.arch_id)
    assert bundle.digest == index["bundles"][0]["bundle_digest"]
    certificate = bundle.card.latency[DEVICE]
    assert certificate.verdicts == (BudgetVerdict(budget_ms=1.0, verdict="within"),)
    assert certificate.card.runtime == "onnxruntime"
    assert bundle.card.parity.top1_agreement == 1.0
    finetuning = bundle.card.finetuning
    assert finetuning.epochs == 1
    assert finetuning.cpu_s > 0
    assert finetuning.is_complete
    assert finetuning.teacher_macs == 0  # the labels alone taught it
    assert set(bundle.card.lineage) == {
        "artifacts/dataset",
        "artifacts/supernet/expand",
        f"artifacts/latency/{DEVICE}",
        f"artifacts/search/{DEVICE}",
    }
    assert load_subnet(folder / small.arch_id / "weights.safetensors").arch == small
    predictions = read_table(folder / "predictions.parquet", PREDICTIONS_SCHEMA)
    assert predictions.num_rows == 2 * bundle.card.accuracy.num_test_images


def test_bundle_predicts_what_the_card_says_of_its_accuracy(make_context, device_of):
    context = make_context()
    small, _ = archs(context)
    write_picks(context, (1.0, [small]))
    device_of({small: [0.5]})
    run_stage("specialize", context)
    bundle = load_bundle(context.layout.subnets(DEVICE) / small.arch_id)
    test = open_dataset(context.layout.dataset).split("test")
    pixels = test.images().permute(0, 2, 3, 1).numpy()
    answers = bundle.predict(pixels).argmax(axis=1)
    accuracy = float((answers == test.labels.numpy()).mean())
    assert accuracy == pytest.approx(bundle.card.accuracy.accuracy_top1)
    assert bundle.predict(Image.fromarray(pixels[0])).argmax() == answers[0]


def test_one_subnet_may_serve_two_budgets(make_context, device_of):
    context = make_context()
    small, _ = archs(context)
    write_picks(context, (1.0, [small]), (2.0, [small]))
    device_of({small: [0.9]})
    run_stage("specialize", context)
    [bundle] = bundles_of(context)["bundles"]
    assert bundle["budgets_ms"] == [1.0, 2.0]
    assert len(bundle["latency"][DEVICE]["verdicts"]) == 2


def test_runner_up_ships_where_the_pick_stays_over_its_budget(make_context, device_of):
    context = make_context()
    small, large = archs(context)
    write_picks(context, (1.0, [large, small]))
    device_of({large: [1.2, 0.9, 1.1], small: [0.8]})
    run_stage("specialize", context)
    index = bundles_of(context)
    assert index["picks"] == [{"budget_ms": 1.0, "bundle": small.arch_id, "rank": 1}]
    assert [item["name"] for item in index["bundles"]] == [small.arch_id]


def test_budget_that_no_candidate_meets_stops_the_stage_and_leaves_nothing(make_context, device_of):
    context = make_context()
    small, _ = archs(context)
    write_picks(context, (1.0, [small]))
    device_of({small: [1.5]})
    with pytest.raises(InfeasibleConstraintError, match=r"latency_ms <= 1 as it ships"):
        run_stage("specialize", context)
    assert not context.layout.subnets(DEVICE).exists()


RUNTIMES = [("cpu-onnxruntime", "model.onnx"), ("cpu-pytorch", "network.safetensors")]


@pytest.mark.parametrize(("device", "file"), RUNTIMES)
def test_one_file_is_measured_evaluated_named_and_run(make_context, device_of, device, file):
    context = make_context(device)
    small, _ = archs(context)
    write_picks(context, (1.0, [small]))
    known = device_of({small: [0.5]})
    run_stage("specialize", context)
    folder = context.layout.subnets(device) / small.arch_id
    bundle = load_bundle(folder)
    certificate = bundle.card.latency[device]
    assert {name for _, name, _ in known.files} == {file}
    assert bundle.card.accuracy.evaluated_file == file
    assert bundle.subnet.runs.file == certificate.file == file
    assert certificate.file_digest == digest_file(folder / file)
    assert bundle.classifier.file == folder / file
    test = open_dataset(context.layout.dataset).split("test")
    pixels = test.images().permute(0, 2, 3, 1).numpy()
    shipped = subprocess.run(
        [sys.executable, "-I", "-c", CLASSIFY, str(folder)],
        input=pixels.tobytes(),
        capture_output=True,
        check=True,
    )
    answers = np.frombuffer(shipped.stdout, dtype=np.int64)
    predictions = read_table(
        context.layout.subnets(device) / "predictions.parquet", PREDICTIONS_SCHEMA
    )
    assert (answers == predictions["predicted"].to_numpy()).all()


IN_INT8 = {
    "dataset": {"calibration_fraction": 0.4},
    "evaluation": {"calibration_images": 36},
    "specialize": {"epochs": 0, "max_quantization_loss": 100.0},
    "devices": {
        "cpu-int8": {
            "card": {
                "runtime": "openvino",
                "accelerator": "cpu",
                "precision": "int8",
                "threads": 1,
                "batch_size": 1,
            },
            "budgets_ms": [1.0],
        }
    },
}


def test_a_device_in_int8_ships_the_quantised_file(make_context, device_of):
    context = make_context("cpu-int8", IN_INT8)
    small, _ = archs(context)
    write_picks(context, (1.0, [small]))
    known = device_of({small: [0.5, 0.7]})
    lines = []
    run_stage(
        "specialize",
        dataclasses.replace(context, reporter=Reporter(lambda event: lines.append(event.label))),
    )
    folder = context.layout.subnets("cpu-int8") / small.arch_id
    bundle = load_bundle(folder)
    # The file that ships is certified; that of float32 is timed beside it.
    assert [name for _, name, _ in known.files] == ["model.int8.onnx", "model.onnx"]
    assert bundle.card.quantization.p50_ms_float == 0.7
    assert any("0.5 ms instead of 0.7 ms" in line for line in lines)
    assert bundle.subnet.runs.file == bundle.card.accuracy.evaluated_file == "model.int8.onnx"
    assert bundle.subnet.runs.precision == "int8"
    assert bundle.classifier.file == folder / "model.int8.onnx"
    figures, accuracy = bundle.card.quantization, bundle.card.accuracy
    assert figures.num_calibration_images == 36
    assert figures.accuracy_top1_selection == accuracy.accuracy_top1_selection
    assert figures.accuracy_top1_selection_float == accuracy.accuracy_top1_selection_extracted
    assert Classifier(folder, prefer_onnx=True).file.name == "model.int8.onnx"


def test_a_quantised_file_that_loses_too_much_is_refused_with_the_figures(
    make_context, device_of, monkeypatch
):
    sections = {**IN_INT8, "specialize": {"epochs": 0, "max_quantization_loss": 0.0}}
    context = make_context("cpu-int8", sections)
    small, _ = archs(context)
    write_picks(context, (1.0, [small]))
    device_of({small: [0.5]})
    monkeypatch.setattr(QuantizedFiles, "accuracy_top1", lambda *_, **__: 0.0)
    expected = (
        rf"subnet {small.arch_id} may lose 0 points .*max_quantization_loss\), found \d+\.\d+"
    )
    with pytest.raises(ExportError, match=expected):
        run_stage("specialize", context)
    assert not context.layout.subnets("cpu-int8").exists()


def test_too_few_calibration_images_stop_a_device_in_int8_at_once(make_context, device_of):
    context = make_context("cpu-int8", {**IN_INT8, "evaluation": {"calibration_images": 16}})
    small, _ = archs(context)
    write_picks(context, (1.0, [small]))
    device_of({})
    with pytest.raises(DeviceError, match=r"at least 32 calibration images.*found 16"):
        run_stage("specialize", context)


CLASSIFY = """
import sys
sys.modules["ofa_pipeline"] = None  # importing it fails
sys.path.insert(0, sys.argv[1])
import numpy as np
from classify import Classifier
pixels = np.frombuffer(sys.stdin.buffer.read(), dtype=np.uint8).reshape(-1, 20, 20, 3)
sys.stdout.buffer.write(Classifier(sys.argv[1]).predict(pixels).argmax(axis=1).tobytes())
"""
"""Answers for the pixels on stdin with the code of a bundle alone."""


def test_interrupted_stage_keeps_the_subnets_that_it_finished(make_context, device_of, monkeypatch):
    context = make_context()
    small, large = archs(context)
    write_picks(context, (1.0, [small]), (2.0, [large]))
    device_of({small: [0.5], large: [0.5]})
    build = SubnetBuilder._build
    built = []

    def note(self, arch, folder):
        built.append(arch)
        if built == [small, large]:
            raise KeyboardInterrupt
        build(self, arch, folder)

    monkeypatch.setattr(SubnetBuilder, "_build", note)
    with pytest.raises(KeyboardInterrupt):
        run_stage("specialize", context)
    run_stage("specialize", context)
    assert built == [small, large, large]
    assert all(bundle["finetuning"]["cpu_s"] > 0 for bundle in bundles_of(context)["bundles"])
    assert len(bundles_of(context)["bundles"]) == 2
    assert not any((context.layout.root / "scratch" / "specialize").iterdir())


class ElsewhereExecutor:
    """Computes as another process would: what it is given and what it gives survive pickle."""

    has_processes = True

    def __init__(self, device):
        self.device = device
        self.done = []

    def run(self, build, items):
        compute = pickle.loads(pickle.dumps(build))()
        for item in reversed(items):
            self.done.append((item.key, len(self.device.files)))
            yield item, pickle.loads(pickle.dumps(compute(pickle.loads(pickle.dumps(item)))))


def test_picks_that_others_fine_tune_are_the_same_and_come_before_any_is_measured(
    make_context, device_of
):
    context = make_context()
    small, large = archs(context)
    write_picks(context, (1.0, [small]), (2.0, [large]))
    device_of({small: [0.5], large: [0.5]})
    files = [
        run_stage("specialize", context) / arch.arch_id / "weights.safetensors"
        for arch in (small, large)
    ]
    alone, figures = [file.read_bytes() for file in files], bundles_of(context)["bundles"]
    elsewhere, events = ElsewhereExecutor(device_of({small: [0.5], large: [0.5]})), []
    reporter = Reporter(events.append, interval_s=0)
    run_stage("specialize", dataclasses.replace(context, executor=elsewhere, reporter=reporter))
    # The last of the reversed items was asked for before anything was measured.
    assert elsewhere.done == [(f"subnet {arch.arch_id}", 0) for arch in (large, small)]
    assert [file.read_bytes() for file in files] == alone
    for bundle, before in zip(bundles_of(context)["bundles"], figures, strict=True):
        assert bundle["accuracy"] == before["accuracy"]
        assert bundle["finetuning"]["cpu_s"] > 0
    tracked = [(event.label, event.done) for event in events if event.total]
    assert tracked == [(f"fine-tuned for {DEVICE}", 1), (f"fine-tuned for {DEVICE}", 2)]


def test_a_finished_subnet_of_other_epochs_is_built_again_and_said(make_context, device_of):
    messages = []
    context = dataclasses.replace(
        make_context(), reporter=Reporter(lambda event: messages.append(event.label))
    )
    small, large = archs(context)
    write_picks(context, (1.0, [small]), (2.0, [large]))
    device_of({small: [0.5]})  # measuring the other one fails, after both were built
    with pytest.raises(KeyError):
        run_stage("specialize", context)
    (path,) = context.layout.root.glob(f"scratch/specialize/*/{small.arch_id}/facts.json")
    facts = json.loads(path.read_text())
    facts["tuning"]["num_epochs"] += 2
    path.write_text(json.dumps(facts))
    seal = json.loads((path.parent / "seal.json").read_text())
    seal["files"]["facts.json"] = digest_file(path)
    seal["digest"] = digest_json(seal["files"])
    (path.parent / "seal.json").write_text(json.dumps(seal))
    device_of({small: [0.5], large: [0.5]})
    run_stage("specialize", context)
    told = [message for message in messages if "fine-tuned for other epochs" in message]
    assert [small.arch_id in message for message in told] == [True]


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx", "facts.json", "seal.json"])
def test_a_finished_subnet_that_rots_is_built_again_and_said(make_context, device_of, name):
    messages = []
    context = dataclasses.replace(
        make_context(), reporter=Reporter(lambda event: messages.append(event.label))
    )
    small, large = archs(context)
    write_picks(context, (1.0, [small]), (2.0, [large]))
    device_of({small: [0.5]})  # measuring the other one fails, after both were built
    with pytest.raises(KeyError):
        run_stage("specialize", context)
    (path,) = context.layout.root.glob(f"scratch/specialize/*/{small.arch_id}/{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    device_of({small: [0.5], large: [0.5]})
    run_stage("specialize", context)
    assert any(f"of subnet {small.arch_id} is damaged: it is built again" in m for m in messages)
    folder = context.layout.subnets(DEVICE)
    verify_artifact(folder)
    assert (
        load_bundle(folder / small.arch_id).digest
        == bundles_of(context)["bundles"][0]["bundle_digest"]
    )


def test_supernet_of_other_classes_is_refused(make_context, device_of):
    context = make_context()
    small, _ = archs(context)
    layout, phase = context.layout, context.params.final_phase
    supernet = build_supernet(context.params.space.build(), num_classes=NUM_CLASSES + 1)
    with write(context, layout.supernet(phase)) as writer:
        save_supernet(supernet, writer.folder / layout.supernet_weights(phase).name)
    write_picks(context, (1.0, [small]))
    device_of({small: [0.5]})
    with pytest.raises(ManifestMismatchError, match="of 3 classes"):
        run_stage("specialize", context)


def test_what_ships_is_held_against_chance_and_the_first_phase(make_context, device_of):
    context = make_context()
    small, _ = archs(context)
    largest = LargestSubnet(
        accuracy_top1_first_phase=0.99,
        accuracy_top1_before=0.99,
        accuracy_top1_after=0.99,
        difference=0.0,
        noise=0.0,
        num_images=1000,
    )
    write_supernet(context, largest.to_summary())  # of random weights, and images of noise
    write_picks(context, (1.0, [small]))
    device_of({small: [0.5]})
    chance, first = read_warnings(run_stage("specialize", context))
    assert chance.address == first.address == f"specialize@{DEVICE}"
    assert "cannot be told from chance" in chance.text
    assert small.arch_id in chance.text
    [bundle] = bundles_of(context)["bundles"]
    assert first.figures["accuracy_top1"] == bundle["accuracy"]["accuracy_top1_selection"]
    assert first.figures["accuracy_top1_first_phase"] == 0.99


def test_fine_tuning_can_be_left_out(make_context, device_of):
    context = make_context()
    params = context.params
    params = params.model_copy(
        update={"specialize": params.specialize.model_copy(update={"epochs": 0})}
    )
    context = StageContext(layout=context.layout, params=params, item=DEVICE)
    small, _ = archs(context)
    write_picks(context, (1.0, [small]))
    device_of({small: [0.5]})
    run_stage("specialize", context)
    [bundle] = bundles_of(context)["bundles"]
    assert bundle["accuracy"]["accuracy_top1_selection_finetuned"] is None
    assert not bundle["accuracy"]["is_finetuned"]
    assert (bundle["finetuning"]["cpu_s"], bundle["finetuning"]["epochs"]) == (0, 0)
    assert np.isfinite(bundle["accuracy"]["accuracy_top1"])


def test_epochs_and_rate_of_fine_tuning_follow_from_the_supernet(make_context):
    context = make_context()
    dataset = open_dataset(context.layout.dataset)
    special = context.params.specialize.model_copy(
        update={"epochs": "auto", "learning_rate": "auto"}
    )
    recipe = recipe_of(context.params.training)
    trained = {"total_epochs": 17, "first_learning_rate": 0.4}
    plan = tuning_plan(special, recipe, dataset=dataset, trained=trained)
    assert [schedule.total_epochs for schedule in plan.rounds] == [3, 3]
    assert all(schedule.at(0, steps_per_epoch=3) == pytest.approx(0.3) for schedule in plan.rounds)
    assert not plan.has_teacher
    with pytest.raises(ManifestMismatchError, match="which its manifest lacks"):
        tuning_plan(special, recipe, dataset=dataset, trained={})
