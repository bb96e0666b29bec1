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


def test_unknown_preset_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="resnet50"):
        create_workspace(tmp_path, preset="resnet5")


def test_preset_does_not_overwrite_params(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine: 1\n")
    with pytest.raises(ParamsError, match="is there already"):
        create_workspace(tmp_path, preset="resnet50")
