"""A workspace small enough to train all its phases in about a second."""

from pathlib import Path
from typing import Any

import yaml

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.params import parse_params
from ofa_pipeline.stages import StageContext, run_stage
from tests.support.images import write_image_folder

PARAMS = Path(__file__).parents[2] / "params.yaml"


def smallest_params() -> dict[str, Any]:
    """Return params of two phases on images of 8 pixels."""
    values: dict[str, Any] = yaml.safe_load(PARAMS.read_text())
    values["dataset"] |= {"source": "image_folder:pets", "image_size_px": 8}
    values["dataset"] |= {"calibration_fraction": 0.2}
    values["space"] |= {
        "resolutions_px": [8, 12],
        "depths": [1, 2],
        "kernel_sizes": [3, 5],
        "expand_ratios": [2, 3],
        "stem_channels": 8,
        "group_channels": [8, 16],
        "group_strides": [1, 2],
        "head_channels": [16, 16],
    }
    values["training"] |= {
        "batch_size": 4,
        "base_batch_size": 4,
        "threads": 1,
        "calibration_images": 16,
    }
    phase = {"epochs": 1, "warmup_epochs": 0, "learning_rate": 0.05, "subnets_per_step": 2}
    largest = {"depths": [2], "kernel_sizes": [5], "expand_ratios": [3], **phase}
    smaller = {"depths": [1, 2], "kernel_sizes": [3, 5], "expand_ratios": [2, 3], **phase}
    values["phases"] = {
        "largest": {"start_from": "dataset", **largest},
        "expand": {"start_from": "supernet/largest", **smaller},
    }
    values["final_phase"] = "expand"
    values["evaluation"] |= {"threads": 1}
    values["accuracy"] |= {"num_subnets": 10, "num_noise_repeats": 2}
    return values


def context_of(root: Path, values: dict[str, Any], item: str | None = None) -> StageContext:
    """Return what a stage is given in a workspace."""
    return StageContext(layout=Layout(root), params=parse_params(values, origin="test"), item=item)


def prepared_workspace(root: Path, dataset: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write images, prepare them with other values of ``dataset``, and return the params."""
    values = smallest_params()
    values["dataset"] |= dataset or {}
    write_image_folder(root / "pets", images_a_class=30)
    run_stage("prepare_dataset", context_of(root, values))
    return values
