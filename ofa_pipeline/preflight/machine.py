"""The machine: room on its disk, and the devices that params.yaml names."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.preflight.findings import Finding, Subject

MIN_FREE_BYTES = 500 * 2**20

_GIB = 2**30


def look_at_disk(subject: Subject) -> Iterator[Finding]:
    """Look whether the workspace can be written to and has room.

    Raises:
        OfaPipelineError: If not.
    """
    root = subject.root
    check_disk(root)
    yield Finding("workspace", f"{root}, {shutil.disk_usage(root).free / _GIB:.1f} GiB free")


def check_disk(root: Path) -> None:
    """Check that a workspace can be written to and has room.

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


def look_at_device(subject: Subject, name: str) -> Iterator[Finding]:
    """Look whether this machine, or the node of a cluster that it is, can serve a device.

    Raises:
        ClusterError: If no such node can be used.
        DeviceError: If not, or if its runtime does not know an option, wherever it is.
    """
    from ofa_pipeline.devices import check_options, describe_device, require_calibration_images

    settings = subject.params.device(name).card
    check_options(settings)
    if (settings.location or "").startswith("ray://"):
        from ofa_pipeline.devices.elsewhere import check_node

        host = check_node(settings, subject.params.compute.fan_out.address)
        yield Finding(f"device {name}", f"{settings.runtime} on {host} ({settings.location})")
        return
    if settings.location is not None:
        yield Finding(
            f"device {name}",
            f"{settings.runtime}, elsewhere ({settings.location}): nothing to see from here",
        )
        return
    card = describe_device(settings)
    if card.precision == "int8":
        require_calibration_images(subject.params.evaluation.calibration_images)
    yield Finding(
        f"device {name}",
        f"{card.runtime} {card.runtime_version} in {card.precision} on {card.hardware}, "
        f"{card.threads} threads, "
        f"{card.batch_size} images a call",
    )
