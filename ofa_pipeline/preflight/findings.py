"""One line of what was looked at."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

State = Literal["right", "doubtful", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and what was found there."""

    what: str
    found: str
    """A value; of what is wrong or doubtful, why and what to do."""
    state: State = "right"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the checks look at."""

    params: "Params"
    root: Path
    """The workspace: relative paths are meant from there."""
