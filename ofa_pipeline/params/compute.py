"""The section `compute`: where work runs. No stage lists it, because no result depends on it."""

import shlex
from typing import Annotated

from pydantic import AfterValidator, Field

from ofa_pipeline.params.values import Section, is_text


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


class TrainingComputeParams(Section):
    """Where supernets are trained."""

    launch: Command | None = None
    """What starts the ranks that train together, before ``-m ofa_pipeline.training.worker``;
    left out, the stage's own process trains."""


class ComputeParams(Section):
    """Where work runs."""

    training: TrainingComputeParams = Field(default_factory=TrainingComputeParams)
