"""The line in params.yaml that starts ranks: looked at before anything is started."""

import re
import shlex
import shutil
import sys
from pathlib import Path

from ofa_pipeline.compute import compute_device
from ofa_pipeline.errors import ParamsError

_ALL_GPUS = re.compile(r"--nproc[-_]per[-_]node[= ]gpu\b")


def launch_words(line: str) -> list[str]:
    """Return the words of a launch line, the first as the path of a program.

    A program beside Python's own, such as torchrun in a virtual environment, is found whether or
    not the environment is active.

    Raises:
        ParamsError: If there is no such program, or the line wants CUDA devices and there are none.
    """
    name, *words = shlex.split(line)
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
