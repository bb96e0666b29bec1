"""What this machine has for training: cores, memory, room on the disk, a CUDA device."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.cores import usable_cores

_GIB = 2**30
_MEMORY_LIMITS = (
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/memory/memory.limit_in_bytes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, as far as training goes by it."""

    cores: int
    memory_bytes: int
    """That a process may use: of the machine, or of its control group."""
    free_disk_bytes: int
    gpu: str | None
    """Name of the CUDA device; None where training is on the CPU."""
    gpu_memory_bytes: int = 0

    @property
    def text(self) -> str:
        """For people."""
        gpu = f", {self.gpu} ({self.gpu_memory_bytes / _GIB:.0f} GiB)" if self.gpu else ", no GPU"
        memory = f"{self.memory_bytes / _GIB:.0f} GiB of memory"
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores}, {memory}{gpu}, {self.free_disk_bytes / _GIB:.0f} GiB free on the disk"


def this_machine(folder: Path) -> Machine:
    """Return what there is for work in a folder, which need not be there yet.

    It imports torch, which takes its time.
    """
    import torch

    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    name, memory = None, 0
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        name, memory = properties.name, properties.total_memory
    return Machine(
        cores=usable_cores(),
        memory_bytes=_memory_bytes(Path("/")),
        free_disk_bytes=shutil.disk_usage(there).free,
        gpu=name,
        gpu_memory_bytes=memory,
    )


def _memory_bytes(root: Path) -> int:
    """Return the memory of the machine, or of the control group that this process is in."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _MEMORY_LIMITS:
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)
