from dataclasses import replace
from pathlib import Path

import pytest

from ofa_pipeline.params import Params, parse_params
from ofa_pipeline.planning import (
    SourceSurvey,
    SplitSizes,
    WorkOfRun,
    propose,
    rates_of_thumb,
    write_proposal,
)
from ofa_pipeline.workspace import checkout_folder, starting_params
from ofa_pipeline.yaml_reader import parse_yaml
from tests.support.survey import GIB, a_machine, a_survey

GPU = a_machine(cores=16, gpu="NVIDIA H100")
PRESETS = sorted(path.stem for path in (checkout_folder() / "presets").glob("*.yaml"))
SOURCES = {
    "30 photos": a_survey(class_counts=(15, 15)),
    "700 photos": a_survey(),
    "60,000 tiny images": a_survey(class_counts=(6000,) * 10, shorter_sides_px=(32,)),
    "a million photos": a_survey(class_counts=(1000,) * 1000),
    "images of 8 px": a_survey(class_counts=(500, 500), shorter_sides_px=(8,)),
    "images of 5 px": a_survey(class_counts=(500, 500), shorter_sides_px=(5,)),
    "images of 100 px": a_survey(class_counts=(500, 500), shorter_sides_px=(100,)),
    "very uneven": a_survey(class_counts=(3, 900)),
    "mixed sizes": a_survey(shorter_sides_px=(20, 40, 500, 4000)),
    "8 images": a_survey(class_counts=(4, 4)),
    "a path with marks": a_survey(source="image_folder:/my photos/#1: best"),
    "its own splits": a_survey(
        fixed_splits=frozenset({"test", "selection"}),
        split_shares={"train": 0.6, "test": 0.2, "selection": 0.2},
    ),
}


def text_for(survey: SourceSurvey, **options) -> str:
    proposal = propose(survey, options.pop("machine", a_machine()), **options)
    text = starting_params(Path("/nowhere"), preset=proposal.preset, option="--source")
    return write_proposal(text, proposal, head=["Proposed."])


def params_for(survey: SourceSurvey, **options) -> Params:
    return parse_params(parse_yaml(text_for(survey, **options), origin="text"), origin="text")


@pytest.mark.parametrize("survey", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("weights", ["here", "unreachable"])
@pytest.mark.parametrize("machine", [a_machine(), GPU], ids=["two cores", "GPU"])
def test_what_is_proposed_checks_and_leaves_a_batch_to_train_on(survey, weights, machine):
    params = params_for(survey, weights=weights, machine=machine)
    assert params.dataset.source == survey.source
    sizes = SplitSizes.of_survey(survey, params)
    assert params.training.batch_size <= sizes.train
    resolutions = params.space.build().resolutions_px
    assert max(resolutions) <= params.dataset.image_size_px


@pytest.mark.parametrize("preset", PRESETS)
def test_it_composes_with_every_preset(preset):
    params = params_for(a_survey(), preset=preset)
    assert params.dataset.source == "image_folder:photos"
    assert params.training.batch_size <= 420


def test_photos_start_from_published_weights_where_these_can_be_had():
    for weights in ("here", "to download", "unknown"):
        params = params_for(a_survey(), weights=weights)
        assert params.training.initial_weights == {"published": params.space.family}
        assert params.space.resolutions_px == (128, 160, 192, 224)
        assert params.dataset.image_size_px == 256


def test_photos_without_weights_learn_at_sizes_that_show_something():
    params = params_for(a_survey(), weights="unreachable")
    assert not params.training.initial_weights
    assert max(params.space.resolutions_px) == 80
    assert params.space.stem_stride == 2
    assert params.training.augmentation == "random_resized_crop"
    gpu = params_for(a_survey(), weights="unreachable", machine=GPU)
    assert max(gpu.space.resolutions_px) == 128


def test_the_notes_say_that_weights_are_downloaded_and_what_to_do_without():
    [note, *_] = propose(a_survey(), a_machine(), weights="to download").notes
    assert "will download once" in note
    assert "zoo get ofa_mbv3_d234_e346_k357_w1.0" in note
    [note, *_] = propose(a_survey(), a_machine(), weights="unreachable").notes
    assert "cannot be reached" in note
    assert "--from FOLDER" in note
    [note, *_] = propose(a_survey(), a_machine(), preset="transfer", weights="unreachable").notes
    assert note.startswith("the preset needs the published weights")
    assert "random" not in note


def test_small_images_keep_the_shipped_recipe():
    params = params_for(a_survey(class_counts=(6000,) * 10, shorter_sides_px=(32,)))
    assert params.space.resolutions_px == (20, 24, 28, 32)
    assert (params.space.stem_stride, params.training.batch_size) == (1, 64)
    assert params.training.augmentation == "crop_flip"


def test_few_images_get_a_smaller_batch_and_rates_in_proportion():
    shipped = params_for(a_survey(class_counts=(6000,) * 10, shorter_sides_px=(28,)))
    params = params_for(a_survey(class_counts=(80, 80)), weights="unreachable")
    assert params.training.batch_size == 16
    for name, phase in params.phases.items():
        rate = params.training.scaled_rate(phase.learning_rate)
        usual = shipped.phases[name].learning_rate
        assert rate == pytest.approx(shipped.training.scaled_rate(usual) / 4)


def test_little_memory_gets_a_smaller_batch():
    small = replace(a_machine(), memory_bytes=2 * GIB)
    params = params_for(a_survey(), weights="here", machine=small)
    assert params.training.batch_size == 8
    assert "GiB of memory" in text_for(a_survey(), weights="here", machine=small)


def test_photos_that_have_to_be_enlarged_are_told():
    mixed = a_survey(shorter_sides_px=(100, 400, 400, 400))
    assert any("25% of the images are smaller" in note for note in propose(mixed, GPU).notes)


def test_of_many_images_no_more_are_held_out_than_figures_need():
    dataset = params_for(a_survey(class_counts=(1000,) * 1000), weights="here").dataset
    held_out = dataset.test_fraction + dataset.selection_fraction + dataset.calibration_fraction
    assert held_out < 0.03


def test_many_photos_get_fewer_epochs_and_without_a_gpu_smaller_sizes():
    million = a_survey(class_counts=(1000,) * 1000)
    on_cpu, on_gpu = (params_for(million, weights="here", machine=m) for m in (a_machine(), GPU))
    assert max(on_cpu.space.resolutions_px) < max(on_gpu.space.resolutions_px)
    assert on_cpu.phases["elastic"].epochs < on_gpu.phases["elastic"].epochs < 10


def test_many_classes_get_a_wider_head():
    few = params_for(a_survey(), weights="unreachable").space.head_channels
    many = params_for(a_survey(class_counts=(100,) * 1000), weights="unreachable").space
    assert many.head_channels[1] > few[1]


def test_what_will_not_go_well_is_said():
    warnings = " ".join(propose(a_survey(class_counts=(3, 900)), a_machine()).warnings)
    assert "class class0 has 3 images, each class needs at least 4" in warnings
    assert "classes are uneven" in warnings
    broken = a_survey(unreadable=("cat/a.png: cut off",))
    assert "cannot be decoded" in " ".join(propose(broken, a_machine()).warnings)
    assert not propose(a_survey(), a_machine()).warnings


def test_several_cores_are_used_and_a_gpu_needs_none():
    assert params_for(a_survey(), machine=a_machine(cores=16)).training.threads == 8
    assert params_for(a_survey(), machine=GPU).training.threads == 1


def test_reasons_stand_above_the_values_and_comments_stay():
    lines = text_for(a_survey(), weights="unreachable").splitlines()
    assert lines[0] == "# Proposed."
    at = next(i for i, line in enumerate(lines) if line.startswith("  stem_stride: 2 "))
    assert "# from 48 px on the stem may halve the image" in lines[at - 1]
    assert lines[at].endswith("# 1: small images keep their resolution there")


def test_expected_time_grows_with_the_images_and_shrinks_with_a_gpu():
    def seconds(survey, machine):
        params = params_for(survey, weights="here")
        sizes = SplitSizes.of_survey(survey, params)
        work = WorkOfRun(params, sizes, num_classes=survey.num_classes).of_all()
        rates = rates_of_thumb(machine)
        return sum(rates.seconds(address, of) for address, of in work.items())

    few, many = a_survey(), a_survey(class_counts=(10_000,) * 5)
    assert 15 * 60 < seconds(few, a_machine()) < 3 * 3600
    assert seconds(many, a_machine()) > 4 * seconds(few, a_machine())
    assert seconds(many, GPU) < seconds(many, a_machine()) / 10
