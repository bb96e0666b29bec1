"""What is found out in seconds, before hours of training."""

import os
import shutil
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.latency.devices import describe_device
from ofa_pipeline.params import Params
from ofa_pipeline.stages.register import check_registry

MIN_FREE_BYTES = 500 * 2**20


@task(cache_policy=NO_CACHE, persist_result=False)
def check_before_work(root: Path, params: Params) -> None:
    """Check that disk, devices and registry are fit for what the params ask.

    Raises:
        OfaPipelineError: If one of them is not; says what to do.
    """
    check_disk(root)
    for device in params.devices.values():
        describe_device(device.card)
    check_registry(Layout(root), params)


def check_disk(root: Path) -> None:
    """Check that the workspace can be written to and has room.

    Raises:
        OfaPipelineError: If not.
    """
    for folder in (root, root / "artifacts", root / "scratch"):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise OfaPipelineError(
                f"the workspace must be writable, but {folder} is not. Change the permissions, "
                "or choose another folder with --workspace."
            )
    free = shutil.disk_usage(root).free
    if free < MIN_FREE_BYTES:
        raise OfaPipelineError(
            f"the disk of {root} must have {MIN_FREE_BYTES / 2**20:.0f} MiB free, found "
            f"{free / 2**20:.0f}. Free space, or choose another folder with --workspace."
        )
