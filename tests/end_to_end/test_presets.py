"""Every reference supernet trains in the pipeline, from its preset, on a few images."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.params import load_params
from ofa_pipeline.reference.zoo import import_file, supernet_file
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.stages import StageContext, run_stage
from ofa_pipeline.supernet import build_supernet, load_supernet
from ofa_pipeline.workspace import create_workspace
from tests.support.weights import write_checkpoint

PRESETS = sorted(path.stem for path in (Path(__file__).parents[2] / "presets").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_phase_trains(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_workspace(tmp_path, preset=preset)
    write_images(tmp_path / "images")
    shrink_params(tmp_path / "params.yaml")
    params = load_params(tmp_path / "params.yaml")
    layout = Layout(tmp_path)
    run_stage("prepare_dataset", StageContext(layout=layout, params=params))
    monkeypatch.setenv("OFA_PIPELINE_CACHE", str(tmp_path / "cache"))
    for kind in params.training.initial_weights:
        write_published(tmp_path / "published.pth", params.space.family)
        run_stage("import_weights", StageContext(layout=layout, params=params, item=kind))
    before = None
    for phase in params.phases:
        run_stage("train_supernet", StageContext(layout=layout, params=params, item=phase))
        weights = load_supernet(layout.supernet_weights(phase)).state_dict()
        assert all(torch.isfinite(tensor).all() for tensor in weights.values())
        if before is not None:
            assert any(not torch.equal(before[name], weights[name]) for name in weights)
        before = weights


def write_published(path: Path, name: str) -> None:
    """Put a file of random weights into the cache, as if it had been downloaded."""
    write_checkpoint(path, build_supernet(reference_space(name), num_classes=1000))
    import_file(supernet_file(name), path)


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 2)):
        for label in "ab":
            place = folder / split / label
            place.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")


def shrink_params(path: Path) -> None:
    """Train for one epoch of a few steps a phase, at the smallest resolution."""
    values = yaml.safe_load(path.read_text())
    values["dataset"] |= {
        "source": f"image_folder:{path.parent / 'images'}",
        "image_size_px": 32,
        "selection_fraction": 0.2,
        "calibration_fraction": 0.2,
    }
    values["space"]["resolutions_px"] = values["space"]["resolutions_px"][:1]
    values["training"] |= {
        "batch_size": 4,
        "base_batch_size": 4,
        "calibration_images": 4,
        "validation_images": 2,
        "threads": 1,
    }
    for phase in values["phases"].values():
        phase |= {"epochs": 1, "warmup_epochs": 0, "learning_rate": 0.001, "min_steps": 0}
        phase["subnets_per_step"] = 3 if phase.get("sampling") == "sandwich" else 1
    path.write_text(yaml.safe_dump(values, sort_keys=False))
