"""The presets: params of the reference's supernets, and progressive shrinking."""

from pathlib import Path

import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.params import load_params
from ofa_pipeline.spaces import REFERENCE_SPACES
from ofa_pipeline.workspace import create_workspace

SHIPPED = Path(__file__).parents[2] / "params.yaml"
PRESETS = sorted(path.stem for path in (Path(__file__).parents[2] / "presets").glob("*.yaml"))


def test_there_is_a_preset_for_each_supernet(tmp_path: Path) -> None:
    families = set()
    for preset in PRESETS:
        create_workspace(tmp_path / preset, preset=preset)
        families.add(load_params(tmp_path / preset / "params.yaml").space.family)
    assert families == {*REFERENCE_SPACES, "mobilenet_v3_small_images"}


def test_transfer_starts_elastic_from_published_weights(tmp_path: Path) -> None:
    create_workspace(tmp_path, preset="transfer")
    params = load_params(tmp_path / "params.yaml")
    source = params.training.weights_source
    assert source is not None
    assert source.kind == "published"
    [phase] = params.phases.values()
    assert (phase.start_from, phase.sampling) == ("initial", "sandwich")
    assert phase.learning_rate < load_params(SHIPPED).phases["largest"].learning_rate


def test_sandwich_alpha_is_the_recipe_of_its_paper_for_means_of_gradients(tmp_path: Path) -> None:
    create_workspace(tmp_path, preset="sandwich-alpha")
    params = load_params(tmp_path / "params.yaml")
    [phase] = params.phases.values()
    assert (phase.sampling, phase.subnets_per_step, phase.resolution) == ("sandwich", 4, "subnet")
    assert (phase.teacher, phase.loss, phase.zero_gamma) == ("in_place", "alpha", True)
    assert (phase.learning_rate / 4, phase.clip_value * 4) == (0.1, 1.0)
    assert phase.epochs + phase.warmup_epochs == 360
    assert phase.largest_only is not None
    assert set(phase.largest_only.model_dump().values()) == {0.2, 0.1}
    assert params.evaluation.calibration_images == 64 * params.evaluation.batch_size


def test_compound_trains_243_architectures_at_each_size_in_150_epochs(tmp_path: Path) -> None:
    create_workspace(tmp_path, preset="compound")
    params = load_params(tmp_path / "params.yaml")
    space = params.space.build()
    assert space.num_archs == 243 * len(space.resolutions_px)
    assert space.is_coupled
    largest, *others = params.phases.values()
    assert sum(phase.epochs + phase.warmup_epochs for phase in others) == 150
    assert {phase.teacher for phase in others} == {"previous"}
    sizes = [len(phase.part_of(space).block_groups[0].depths) for phase in params.phases.values()]
    assert sizes == [1, 2, 3]
    assert largest.epochs == 180


@pytest.mark.parametrize(
    ("name", "hint"),
    [("progressive", "progressive-shrinking"), ("sandwich_alpha", "sandwich-alpha")],
)
def test_a_preset_by_another_name_is_hinted_at(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=hint):
        create_workspace(tmp_path, preset=name)


def test_unknown_preset_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="resnet50"):
        create_workspace(tmp_path, preset="resnet5")


def test_preset_does_not_overwrite_params(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine: 1\n")
    with pytest.raises(ParamsError, match="is there already"):
        create_workspace(tmp_path, preset="resnet50")
