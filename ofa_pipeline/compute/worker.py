"""What computes items in a process of its own, on whatever node that is."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import Any

from ofa_pipeline.compute.executor import Item
from ofa_pipeline.compute.torch_settings import TorchSettings
from ofa_pipeline.memory import keep_freed_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An item that was computed, and what that took."""

    result: Any
    cpu_s: float
    """CPU seconds of the process since its last item."""
    on_cuda: bool
    """Whether a CUDA device worked as well."""


class Worker:
    """Computes items one after the other; what all of them need is made once."""

    def __init__(
        self, build: Callable[[], Callable[[Any], Any]], settings: TorchSettings, folder: Path
    ) -> None:
        """Make nothing yet.

        Args:
            build: See `ofa_pipeline.compute.Executor.run`.
            settings: Of torch, in the process that collects the results.
            folder: The working directory of that process.
        """
        os.chdir(folder)
        keep_freed_memory()
        self._build = build
        self._settings = settings
        self._compute: Callable[[Any], Any] | None = None
        self._counted_s = 0.0

    def greet(self) -> Done:
        """Return that the process is there."""
        return Done(result=None, cpu_s=0.0, on_cuda=False)

    def compute(self, item: Item) -> Done:
        """Compute one item.

        Raises:
            Exception: What that raised, with a note that names the item and the machine.
        """
        try:
            if self._compute is None:
                self._settings.apply()
                self._compute = self._build()
            result = self._compute(item)
        except Exception as error:
            error.add_note(f"It happened while working on {item.key}, on {gethostname()}.")
            raise
        total_s = time.process_time()
        spent_s, self._counted_s = total_s - self._counted_s, total_s
        return Done(result=result, cpu_s=spent_s, on_cuda=_uses_cuda())


def _uses_cuda() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())
