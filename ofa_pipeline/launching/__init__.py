"""Work by several processes, started by a launcher such as torchrun, srun or mpirun."""

from ofa_pipeline.launching.joining import joined
from ofa_pipeline.launching.launcher import launch
from ofa_pipeline.launching.line import fewest_ranks, launch_words
from ofa_pipeline.launching.mailbox import Mailbox, RankRecord, Request
from ofa_pipeline.launching.place import Place, find_place

__all__ = [
    "Mailbox",
    "Place",
    "RankRecord",
    "Request",
    "fewest_ranks",
    "find_place",
    "joined",
    "launch",
    "launch_words",
]
