"""Small workspaces for tests of the whole: real stages on few images, or toy stages on none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from ofa_pipeline.data.sources import FASHION_MNIST_SAMPLE
from ofa_pipeline.workspace import checkout_folder, choose_version_control, create_workspace

TOY_STAGE = Path(__file__).with_name("toy_stage.py")
NUM_IMAGES = 800


def tiny_workspace(folder: Path) -> Path:
    """Make a workspace that runs in about a minute: 800 images, two block groups, two phases."""
    create_workspace(folder)
    choose_version_control(folder)
    # A copy, so that who edits the code meanwhile does not make the stages stale.
    (folder / "ofa_pipeline").unlink()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(checkout_folder() / "ofa_pipeline", folder / "ofa_pipeline", ignore=ignored)
    _write_images(folder)
    write_params(folder, tiny_params(read_params(folder)))
    return folder


def _write_images(folder: Path) -> None:
    images = pq.read_table(FASHION_MNIST_SAMPLE).slice(0, NUM_IMAGES)
    pq.write_table(images, folder / "images.parquet")


def toy_workspace(folder: Path) -> Path:
    """Make a workspace whose stages take no time: `toy_stage.py` instead of `ofa-pipeline`."""
    create_workspace(folder)
    choose_version_control(folder)
    _write_images(folder)  # that they are there is checked before work
    write_params(folder, tiny_params(read_params(folder)))
    path = folder / "dvc.yaml"
    graph = yaml.safe_load(path.read_text())
    for entry in graph["stages"].values():
        block = entry.get("do", entry)
        words = block["cmd"].partition("ofa-pipeline ")[2]
        block["cmd"] = f"{sys.executable} toy_stage.py {words}"
        # The toy's own code instead of the package's, which others may be changing.
        data = [dep for dep in block["deps"] if not dep.startswith("ofa_pipeline/")]
        block["deps"] = [*data, "toy_stage.py"]
    del graph["plots"]
    path.write_text(yaml.safe_dump(graph, sort_keys=False))
    shutil.copyfile(TOY_STAGE, folder / "toy_stage.py")
    return folder


def read_params(folder: Path) -> dict[str, Any]:
    """Return the params of a workspace as plain values."""
    values: dict[str, Any] = yaml.safe_load((folder / "params.yaml").read_text())
    return values


def write_params(folder: Path, values: dict[str, Any]) -> None:
    """Replace the params of a workspace."""
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def tiny_params(values: dict[str, Any]) -> dict[str, Any]:
    """Return params as in the repository, but small everywhere."""
    values["dataset"] |= {"source": "parquet:images.parquet", "shard_rows": 256}
    values["dataset"] |= {"calibration_fraction": 0.1}
    values["space"] |= {
        "resolutions_px": [16, 20],
        "depths": [1, 2],
        "kernel_sizes": [3, 5],
        "expand_ratios": [2, 3],
        "stem_channels": 8,
        "group_channels": [8, 16],
        "group_strides": [1, 2],
        "head_channels": [32, 32],
    }
    phases = {"largest": ([2], [5], [3]), "expand": ([1, 2], [3, 5], [2, 3])}
    template = values["phases"]["largest"] | {"epochs": 1, "warmup_epochs": 0}
    values["phases"], before = {}, "dataset"
    for name, (depths, kernel_sizes, expand_ratios) in phases.items():
        values["phases"][name] = template | {
            "start_from": before,
            "depths": depths,
            "kernel_sizes": kernel_sizes,
            "expand_ratios": expand_ratios,
        }
        before = f"supernet/{name}"
    values["final_phase"] = "expand"
    values["training"] |= {"threads": 1}
    values["evaluation"] |= {"calibration_images": 64, "batch_size": 200}
    values["accuracy"] |= {"num_subnets": 12, "num_noise_repeats": 2}
    values["predictor"] |= {"cross_validation_folds": 3}
    values["latency"] |= {"num_subnets": 10, "num_holdout": 5, "warmup_runs": 2, "timed_runs": 10}
    for device in values["devices"].values():
        device["budget_fractions"] = [0.5, 1.0]
    values["search"] |= {"population": 32, "generations": 3, "verify_top_k": 1, "max_rounds": 1}
    values["specialize"] |= {"epochs": 1}
    return values


def run_command(
    *words: str | Path, workspace: Path, check: bool = True, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command of our environment (``ofa-pipeline``, ``dvc``) in a workspace."""
    commands = Path(sys.executable).parent
    finished = subprocess.run(
        [str(commands / str(words[0])), *map(str, words[1:])],
        cwd=workspace,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if check and finished.returncode:
        raise AssertionError(
            f"{words} ended with {finished.returncode}:\n{finished.stdout}\n{finished.stderr}"
        )
    return finished
