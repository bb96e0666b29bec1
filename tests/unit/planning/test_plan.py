import json
import shutil

import pytest

from ofa_pipeline.artifacts import Layout, write_artifact
from ofa_pipeline.cli.planned import plan_lines, plan_table
from ofa_pipeline.data import PHOTOS, SQUARES
from ofa_pipeline.params import load_params
from ofa_pipeline.planning import (
    Judgement,
    Plan,
    PlannedStage,
    SplitSizes,
    WorkOfRun,
    expected_seconds,
    keep_plan,
    kept_seconds,
    make_plan,
    rates_of_thumb,
    recorded_seconds,
    run_addresses,
    states_of,
)
from ofa_pipeline.planning.images import (
    ImagesAtHand,
    is_source_changed,
    prepared_images,
    surveyed_images,
)
from ofa_pipeline.planning.making import _image_notes
from ofa_pipeline.planning.resources import images_in_memory_bytes
from ofa_pipeline.stages import StageContext, find_stage, param_sections, run_stage
from ofa_pipeline.stopwatch import Seconds
from ofa_pipeline.workspace import checkout_folder, create_workspace
from tests.support.images import encoded, noise, write_image_folder
from tests.support.survey import GIB, a_machine

SIZES = {"train": 7560, "calibration": 600, "selection": 2040, "test": 1800}


@pytest.fixture(scope="module")
def params():
    return load_params(checkout_folder() / "params.yaml")


@pytest.fixture
def layout(tmp_path):
    """A workspace with a prepared dataset and a predictor that took 70 s."""
    layout = Layout(tmp_path)
    dataset = {"num_images": SIZES, "num_classes": 10, "image_size_px": 28}
    with write_artifact(
        layout.dataset, stage="prepare_dataset", item=None, params={}, inputs=[]
    ) as writer:
        writer.summary |= dataset
    return layout


def record(layout, params, *, wall_s=70.0, is_complete=True, **differing):
    stage = find_stage("fit_predictor")
    made_with = params.sections(param_sections(stage, None)) | differing
    for path, values, summary in (
        (layout.predictor, made_with, {}),
        (
            layout.seconds / stage.name,
            {},
            Seconds(wall_s=wall_s, is_complete=is_complete).to_dict(),
        ),
    ):
        with write_artifact(path, stage=stage.name, item=None, params=values, inputs=[]) as writer:
            writer.summary |= summary


def test_what_reads_of_a_changed_stage_runs_too_and_the_rest_is_current(params):
    changed = {"list_source", "search@cpu-pytorch"}
    states = states_of(params, changed=changed, restorable=())
    running = {address for address, state in states.items() if state == "runs"}
    assert running == {
        "search@cpu-pytorch",
        "specialize@cpu-pytorch",
        "register@cpu-pytorch",
        "report",
    }
    assert states["list_source"] == "checked"
    assert states["train_supernet@largest"] == "current"


def test_what_dvc_has_kept_is_restored_unless_something_before_it_runs(params):
    kept = {"fit_predictor", "search@cpu-pytorch"}
    states = states_of(params, changed=kept, restorable=kept)
    assert states["fit_predictor"] == "restored"
    assert states["search@cpu-pytorch"] == "runs"  # it may get another predictor


def test_seconds_of_an_earlier_run_count_where_the_params_are_the_same(layout, params):
    assert recorded_seconds(layout, params, run_addresses(params)) == {}
    record(layout, params)
    assert recorded_seconds(layout, params, run_addresses(params)) == {"fit_predictor": 70.0}


@pytest.mark.parametrize("differing", [{"predictor": {}}, {"is_complete": False}])
def test_seconds_with_other_params_or_of_a_killed_run_do_not_count(layout, params, differing):
    record(layout, params, **differing)
    assert recorded_seconds(layout, params, run_addresses(params)) == {}


def test_a_plan_has_the_time_of_each_stage_and_says_where_it_is_from(layout, params):
    record(layout, params)
    judgement = Judgement(changed={"fit_predictor", "collect_accuracy"})
    plan = make_plan(layout.root, params, judgement, is_measured=False)
    found = {stage.address: stage for stage in plan.stages}
    assert found["fit_predictor"].basis == "recorded"
    assert found["fit_predictor"].seconds > 70
    assert found["collect_accuracy"].basis == "rule of thumb"
    assert found["train_supernet@largest"].state == "current"
    assert plan.seconds == pytest.approx(sum(stage.seconds for stage in plan.stages))
    assert plan.memory_bytes is None
    assert 10**7 < plan.disk_bytes < 10**9
    assert "12,000 prepared images of 10 classes" in plan.notes[0]


def test_a_plan_for_images_that_are_not_prepared_looks_at_the_source(tmp_path, params):
    judgement = Judgement(changed=set(run_addresses(params)))
    plan = make_plan(tmp_path, params, judgement, is_measured=False)
    assert "not prepared yet" in plan.notes[0]
    assert plan.num_running == len(plan.stages) - 1  # all but the check


def test_whole_images_are_streamed_and_the_plan_says_so(params):
    def memory(source, **training):
        options = params.training.model_copy(update=training)
        work = WorkOfRun(
            params.model_copy(update={"training": options}), SplitSizes(**SIZES), num_classes=10
        )
        images = ImagesAtHand(
            num_classes=10,
            sizes=work.sizes,
            image_size_px=224,
            proportions=source,
            stored_bytes=40_000.0 * work.sizes.total,
            decode_s=0.01,
            note="",
        )
        return images_in_memory_bytes(work, images), _image_notes(work, images)

    held_out = 3 * 224**2 * (SIZES["calibration"] + SIZES["selection"])
    squares, notes = memory(SQUARES, augmentation="random_resized_crop")
    assert notes != []  # 7,560 of them take more than 1 GiB
    whole, told = memory(PHOTOS, augmentation="random_resized_crop")
    assert "keep their proportions" in told[0]
    assert whole - squares == 4 * 64 * 3 * (336**2 - 224**2)
    assert whole > held_out + 6144 * 40_000
    assert memory(PHOTOS, augmentation="crop_flip") == (squares, notes)


def test_a_plan_for_photographs_counts_their_ends(tmp_path, params):
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(60):
            pixels = noise(100 * label + index, height=96, width=64 if index % 2 else 192)
            (tmp_path / f"photos/{name}/{index}.png").write_bytes(encoded(pixels))
    dataset = params.dataset.model_copy(
        update={"source": "image_folder:photos", "image_size_px": 32}
    )
    params = params.model_copy(update={"dataset": dataset})
    found = surveyed_images(params, tmp_path)
    assert (found.proportions.highest, found.proportions.widest) == (1.5, 2)
    assert found.proportions.area == pytest.approx(1.75)
    assert found.stored_bytes == pytest.approx(120 * 1.8 * 1.75 * 32**2)
    run_stage("prepare_dataset", StageContext(layout=Layout(tmp_path), params=params))
    there = prepared_images(Layout(tmp_path)).proportions
    assert (there.highest, there.widest) == (1.5, 2)


def test_a_download_is_told_and_what_would_stop_the_run_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_PIPELINE_CACHE", str(tmp_path / "cache"))
    write_image_folder(tmp_path / "photos")
    create_workspace(tmp_path, preset="transfer")
    params = load_params(tmp_path / "params.yaml")  # of 20 images no batch of 32 is left
    judgement = Judgement(changed=set(run_addresses(params)))
    plan = make_plan(tmp_path, params, judgement, is_measured=False)
    assert any("downloads the weights of published ofa_mbv3" in note for note in plan.notes)
    [warning] = plan.warnings
    assert "at least one batch of 32 images" in warning
    assert f"the run would stop: {warning}" in [line.text for line in plan_lines(plan)]


def test_where_the_run_would_stop_nothing_is_measured_and_doubts_are_notes(tmp_path):
    write_image_folder(tmp_path / "photos")
    create_workspace(tmp_path)
    text = (tmp_path / "params.yaml").read_text()
    text = text.replace("source: fashion_mnist_sample", "source: image_folder:photos")
    (tmp_path / "params.yaml").write_text(text.replace("cosine: [0.3, 1]", "cosine: [0.5, 1]"))
    params = load_params(tmp_path / "params.yaml")  # no batch of 64 is left of 20 images
    plan = make_plan(tmp_path, params, Judgement(changed=set(run_addresses(params))))
    assert any("at least one batch of 64 images" in warning for warning in plan.warnings)
    assert {stage.basis for stage in plan.stages} <= {"rule of thumb", ""}
    assert any("the cosine of phases.elastic begins at 0.5" in note for note in plan.notes)


def test_images_that_changed_since_they_were_listed_are_prepared_again(tmp_path, params):
    write_image_folder(tmp_path / "photos")
    dataset = params.dataset.model_copy(update={"source": "image_folder:photos"})
    params, layout = params.model_copy(update={"dataset": dataset}), Layout(tmp_path)
    assert not is_source_changed(params, layout)  # never listed: DVC knows that
    run_stage("list_source", StageContext(layout=layout, params=params))
    assert not is_source_changed(params, layout)
    (tmp_path / "photos/cat/new.png").write_bytes(b"new")
    assert is_source_changed(params, layout)
    shutil.rmtree(tmp_path / "photos")
    assert not is_source_changed(params, layout)


def test_rules_of_thumb_come_near_what_the_demonstration_took_on_two_cores(params):
    """A run of its own: 548 s in all, of which 78 and 192 s were training."""
    amounts = WorkOfRun(params, SplitSizes(**SIZES), num_classes=10).of_all()
    rates = rates_of_thumb(a_machine(cores=2))
    seconds = {address: rates.seconds(address, amount) for address, amount in amounts.items()}
    assert seconds["train_supernet@largest"] == pytest.approx(78, rel=0.25)
    assert seconds["train_supernet@elastic"] == pytest.approx(192, rel=0.25)
    assert sum(seconds.values()) == pytest.approx(548, rel=0.25)


def test_a_run_without_a_plan_expects_recorded_seconds_and_rules_of_thumb(layout, params):
    record(layout, params)
    seconds = expected_seconds(layout.root, params)
    assert set(seconds) == set(run_addresses(params))
    assert 70 < seconds["fit_predictor"] < 80


def a_plan(**options):
    stages = (
        PlannedStage(address="list_source", state="checked", seconds=1, basis="rule of thumb"),
        PlannedStage(address="prepare_dataset", state="current", seconds=0, basis=""),
        PlannedStage(address="fit_predictor", state="runs", seconds=600, basis="measured"),
    )
    values = {
        "stages": stages,
        "machine": a_machine(),
        "memory_bytes": 3 * GIB,
        "gpu_memory_bytes": None,
        "disk_bytes": 5 * GIB,
        "notes": ("a note",),
    }
    return Plan(**values | options)


def test_a_plan_is_json_for_programs():
    found = json.loads(json.dumps(a_plan().to_dict()))
    assert found["seconds"] == 601
    assert found["stages"][2] == {
        "address": "fit_predictor",
        "state": "runs",
        "seconds": 600,
        "basis": "measured",
    }
    assert found["machine"]["cores"] == 2


def test_a_plan_is_a_table_with_what_is_needed_below():
    assert plan_table(a_plan()).row_count == 3
    lines = plan_lines(a_plan())
    assert lines[0].text.startswith("1 of 3 stages to bring up to date, about 10 min")
    assert "note: a note" in [line.text for line in lines]
    assert not any(line.is_warning for line in lines)


def test_what_does_not_fit_the_machine_is_a_warning():
    warned = [
        line.text
        for line in plan_lines(a_plan(memory_bytes=16 * GIB, disk_bytes=200 * GIB))
        if line.is_warning
    ]
    assert [text.partition(":")[0] for text in warned] == ["disk", "memory"]


def test_a_plan_is_kept_for_the_run_with_the_same_params(tmp_path, params):
    layout = Layout(tmp_path)
    assert kept_seconds(params, layout) == {}
    keep_plan(a_plan(), params, layout)
    assert kept_seconds(params, layout) == {"fit_predictor": 600}
    other = params.model_copy(update={"final_phase": "other"})
    assert kept_seconds(other, layout) == {}
