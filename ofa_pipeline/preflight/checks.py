"""The list of checks, and the two ways to go through it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.errors import OfaPipelineError, shorten
from ofa_pipeline.preflight.findings import Finding, Subject
from ofa_pipeline.preflight.initial_weights import look_at_initial_weights
from ofa_pipeline.preflight.machine import look_at_device, look_at_disk
from ofa_pipeline.preflight.services import look_at_cluster, look_at_prefect, look_at_registry
from ofa_pipeline.preflight.settings import (
    look_at_compiling,
    look_at_launcher,
    look_at_predictor,
    look_at_schedule,
    look_at_space,
    look_at_training,
)
from ofa_pipeline.preflight.source import look_at_source

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

NOT_CHECKED = (
    "that every image can be decoded, and each class has enough (prepare_dataset says so)",
    "that a subnet meets each budget (search says so)",
    "that the names in the registry are free or ours (run says so before it works)",
    "servers of a Prefect profile",
)

_MAX_FAULT = 500
_OF_TRAINING = ("source", "launcher", "initial weights")
"""What is not looked at where nothing is trained."""

Look = Callable[[Subject], Iterator[Finding]]


def look(params: "Params", root: Path) -> Iterator[Finding]:
    """Look at everything; what is wrong is a finding, too, and does not stop the rest.

    Args:
        params: Params of the workspace.
        root: The workspace.
    """
    subject = Subject(params, root)
    for what, check in _checks(params):
        try:
            yield from check(subject)
        except OfaPipelineError as error:
            yield Finding(what, str(error), "wrong")


def check_before_work(
    params: "Params", root: Path, *, reads_images: bool = True
) -> tuple[Finding, ...]:
    """Check everything that a run needs.

    Args:
        params: Params of the workspace.
        root: The workspace.
        reads_images: Whether the run may prepare the images; where a device is added to a
            supernet that is there, they need not be here.

    Returns:
        What is doubtful: a run may begin, its user should know.

    Raises:
        OfaPipelineError: The first fault as it is; with more than one, all of them.
    """
    subject = Subject(params, root)
    faults: list[OfaPipelineError] = []
    doubts: list[Finding] = []
    for what, check in _checks(params):
        if what in _OF_TRAINING and not reads_images:
            continue
        try:
            doubts += [finding for finding in check(subject) if finding.state == "doubtful"]
        except OfaPipelineError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        lines = "".join(f"\n  - {shorten(str(fault), _MAX_FAULT)}" for fault in faults)
        raise OfaPipelineError(f"{len(faults)} things must be put right before work:{lines}")
    return tuple(doubts)


def _checks(params: "Params") -> list[tuple[str, Look]]:
    devices: list[tuple[str, Look]] = [
        (f"device {name}", partial(look_at_device, name=name)) for name in params.devices
    ]
    return [
        ("workspace", look_at_disk),
        ("source", look_at_source),
        ("space", look_at_space),
        ("predictor", look_at_predictor),
        ("training", look_at_training),
        ("launcher", look_at_launcher),
        ("compiler", look_at_compiling),
        ("cluster", look_at_cluster),
        ("initial weights", look_at_initial_weights),
        *devices,
        ("schedule", look_at_schedule),
        ("registry", look_at_registry),
        ("Prefect", look_at_prefect),
    ]
