"""Which of how many processes this one is, as its launcher says in the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ofa_pipeline.errors import LaunchError, shown

_VARIABLES = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),  # torchrun
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The place of a process among those that a launcher started."""

    rank: int
    size: int
    local_rank: int = 0
    """Number among those on this machine."""
    local_size: int = 1
    """How many are on this machine."""


def find_place(environment: Mapping[str, str]) -> Place:
    """Return the place that torchrun, Slurm's srun or Open MPI's mpirun gave this process.

    Raises:
        LaunchError: If none of them did, or what it says is no place.
    """
    for rank, size, local_rank, local_size in _VARIABLES:
        if rank in environment and size in environment:
            number, many = environment[rank], environment[size]
            if not (number.isdecimal() and many.isdecimal() and int(number) < int(many)):
                raise LaunchError(
                    f"{rank} must be a number below {size}, the number of ranks, but they are "
                    f"{shown(number)} and {shown(many)}. A launcher sets both: do not set them by "
                    "hand, and unset what another launcher has left"
                )
            return Place(
                rank=int(number),
                size=int(many),
                local_rank=_first_number(environment.get(local_rank, "0"), otherwise=0),
                local_size=_first_number(environment.get(local_size, "1"), otherwise=1),
            )
    names = " or ".join(f"{rank} and {size}" for rank, size, *_ in _VARIABLES)
    raise LaunchError(
        f"a launcher must tell each process which rank it is, in {names}, but none of them is "
        "set. Name a launcher in compute.training.launch, such as torchrun --standalone "
        "--nproc-per-node=2"
    )


def _first_number(text: str, *, otherwise: int) -> int:
    """Return the number that a text begins with: Slurm writes ``8(x4)`` for four equal nodes."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else otherwise
