"""The line in params.yaml that starts ranks: looked at before anything is started."""

import math
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ofa_pipeline.compute import compute_device
from ofa_pipeline.errors import ParamsError

_RANKS = {
    "a node": re.compile(r"--nproc[-_]per[-_]node[= ](\d+)\b"),
    "nodes": re.compile(r"--nnodes[= ](\d+)\b"),  # of 1:4 the fewest
}
"""What multiplies to torchrun's number of ranks."""
_ALL_GPUS = re.compile(r"--nproc[-_]per[-_]node[= ]gpu\b")


def launch_words(line: str, *, root: Path = Path()) -> list[str]:
    """Return the words of a launch line, the first as the path of a program.

    A program beside Python's own, such as torchrun in a virtual environment, is found whether or
    not the environment is active.

    Args:
        line: From params.yaml.
        root: The workspace, where the line is started: a relative path is meant from there.

    Raises:
        ParamsError: If there is no such program, or the line wants CUDA devices and there are none.
    """
    name, *words = shlex.split(line)
    if "/" in name:
        name = str(root / name)
    path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        raise ParamsError(
            f"compute.training.launch must begin with a program that is installed here, {name!r} "
            "is not found. Install it, name its path, or remove the line to train in one process."
        )
    if Path(path).name == "torchrun" and _ALL_GPUS.search(line) and compute_device() != "cuda":
        raise ParamsError(
            "compute.training.launch asks for one rank a GPU (--nproc-per-node=gpu), but torch "
            "finds no CUDA device here. Run where there is one, or start ranks on the CPU: "
            "--nproc-per-node=2"
        )
    return [path, *words]


def fewest_ranks(words: Sequence[str]) -> int:
    """Return how many ranks a launch line starts at least, as far as it can be read off it.

    Args:
        words: What `launch_words` returned. Of torchrun they say it; of others one is assumed.
    """
    if Path(words[0]).name != "torchrun":
        return 1
    line = " ".join(words)
    found = (pattern.search(line) for pattern in _RANKS.values())
    return max(1, math.prod(int(match[1]) for match in found if match))
