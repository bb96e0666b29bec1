"""How far a run is, as one progress bar on its page in Prefect."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.names import artifact_key

if TYPE_CHECKING:
    from uuid import UUID

PROGRESS: ContextVar["RunProgress | None"] = ContextVar("PROGRESS", default=None)
"""The bar of the run that goes on here."""

_DONE_PERCENT = 100.0


class RunProgress:
    """A progress bar that all stages of a run move, one after the other; safe between threads."""

    def __init__(self, root: Path) -> None:
        """Draw it, empty, under the run."""
        created = create_progress_artifact(
            0.0, key=artifact_key("progress", root), description="begins"
        )
        self._artifact = cast("UUID", created)  # a coroutine only inside async code
        self._lock = threading.Lock()

    def show(self, address: str, percent: float, text: str) -> None:
        """Show how far a stage is."""
        with self._lock:
            update_progress_artifact(self._artifact, percent, description=f"{address}: {text}")

    def finish(self) -> None:
        """Show that every stage is up to date."""
        with self._lock:
            update_progress_artifact(self._artifact, _DONE_PERCENT, description="done")


@contextmanager
def shown_progress(root: Path) -> Iterator[None]:
    """Show the progress of the stages that the body brings up to date."""
    progress = RunProgress(root)
    token = PROGRESS.set(progress)
    try:
        yield
        progress.finish()  # where the body fails, the bar stays at what failed
    finally:
        PROGRESS.reset(token)
