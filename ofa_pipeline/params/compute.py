"""The section `compute`: where work runs. No stage lists it, because no result depends on it."""

import re
import shlex
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ofa_pipeline.errors import shown
from ofa_pipeline.params.values import Positive, Section, Share, is_text

_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_MAX_PORT = 65_535


def _is_command(line: str) -> str:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(
            f"must be a command as a shell reads it, got {line!r}: {error}. Close every quote, or "
            "leave it out to train in one process"
        ) from error
    if not words or not words[0]:
        raise ValueError(
            "must name a program, such as torchrun --standalone --nproc-per-node=gpu, or be left "
            "out to train in one process, got nothing"
        )
    return line


Command = Annotated[
    str, Field(max_length=4096), AfterValidator(is_text), AfterValidator(_is_command)
]


def _is_address(address: str) -> str:
    if address in ("auto", "local"):
        return address
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None or not 0 < int(found[2]) <= _MAX_PORT:
        raise ValueError(
            "must be auto (the cluster that this machine is a node of), local (Ray is started here "
            "and ends with the stage), or HOST:PORT as `ray start --head` prints it, such as "
            f"10.0.0.1:6379, got {shown(address)}"
        )
    return address


Address = Annotated[str, Field(max_length=300), AfterValidator(_is_address)]


CHECKPOINT_MINUTES = 5.0


class TrainingComputeParams(Section):
    """Where supernets are trained."""

    launch: Command | None = None
    """What starts the ranks that train together, before ``-m ofa_pipeline.training.worker``;
    left out, the stage's own process trains."""
    compile: bool = False
    """Whether each batch norm is compiled with its activation (`torch.compile`), on CUDA."""
    checkpoint_minutes: Positive | None = None
    """At most so many minutes lie between two checkpoints of a training, and one is written after
    each epoch; left out: `CHECKPOINT_MINUTES`."""


class FanOutParams(Section):
    """Where many subnets are evaluated and fine-tuned."""

    executor: Literal["local", "ray"] = "local"
    """``local``: the stage's own process; ``ray``: workers on a Ray cluster."""
    address: Address = "auto"
    """Of the Ray cluster: ``auto``, ``local`` or ``HOST:PORT``."""
    gpus_per_worker: Share | None = None
    """GPUs of a Ray worker, at most one; a part of one is shared by several workers. Left out: one
    where the cluster has GPUs, otherwise none."""


class ComputeParams(Section):
    """Where work runs."""

    fan_out: FanOutParams = Field(default_factory=FanOutParams)
    training: TrainingComputeParams = Field(default_factory=TrainingComputeParams)
