"""One rank of several that train together: what a launcher starts.

    LAUNCHER -m ofa_pipeline.training.worker REQUEST

``REQUEST`` is the file that the waiting stage wrote (`ofa_pipeline.launching.Mailbox`). The rank
ends when it is done, when one of them was told to end, or when the stage is gone.
"""

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Any

from ofa_pipeline.compute import Ranks
from ofa_pipeline.errors import LaunchError, OfaPipelineError
from ofa_pipeline.exit_codes import EXIT_ERROR, EXIT_TERMINATED, exit_on_sigterm
from ofa_pipeline.launching import Mailbox, Place, RankRecord, Request, find_place, joined
from ofa_pipeline.memory import keep_freed_memory
from ofa_pipeline.progress import SILENT, Reporter

Work = Callable[[Mapping[str, Any], Ranks, Reporter], None]

_POLL_S = 0.2
_GRACE_S = 60.0
"""From the loss of the stage or the launcher to an end without ceremony."""


def main(request_path: Path) -> int:
    """Do this rank's part of a request; return the exit code.

    Who was told to end, and saved, ends with 0: a launcher ends all ranks when one fails.
    """
    mailbox = Mailbox(request_path.parent)
    try:
        place, request = find_place(os.environ), mailbox.read_request()
        with mailbox.as_rank(place.rank):
            return _work_as(place, request, mailbox)
    except LaunchError as error:  # there is no place to leave a record in
        sys.stderr.write(f"{error}\n")
        return EXIT_ERROR


def _work_as(place: Place, request: Request, mailbox: Mailbox) -> int:
    """Work as a rank, and leave a record of how it ended; return the exit code."""
    record = RankRecord(
        rank=place.rank, size=place.size, host=gethostname(), pid=os.getpid(), state="begun"
    )
    mailbox.write_record(record)
    exit_on_sigterm()
    keep_freed_memory()
    _end_with_others(request, mailbox, is_first=place.rank == 0)
    reporter = Reporter(mailbox.report) if place.rank == 0 else SILENT
    try:
        with joined(place, mailbox) as ranks:
            _work_of(request)(request.arguments, ranks, reporter)
    except (KeyboardInterrupt, SystemExit):
        mailbox.write_record(replace(record, state="stopped"))
        return 0
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # launchers end the others: we end anyway
        traceback.print_exc()
        is_ours = isinstance(error, OfaPipelineError)
        text = str(error) if is_ours else f"{type(error).__name__}: {error}"
        mailbox.write_record(replace(record, state="failed", error=text, is_explained=is_ours))
        return EXIT_ERROR
    mailbox.write_record(replace(record, state="done"))
    return 0


def _work_of(request: Request) -> Work:
    module, _, name = request.work.partition(":")
    work: Work = getattr(importlib.import_module(module), name)
    return work


def _end_with_others(request: Request, mailbox: Mailbox, *, is_first: bool) -> None:
    """End, as SIGTERM would, once the stage asks the first rank to, or who started this is gone."""
    watcher = threading.Thread(target=_watch, args=(request, mailbox, is_first), daemon=True)
    watcher.start()


def _watch(request: Request, mailbox: Mailbox, is_first: bool) -> None:
    launcher, asker, pause = os.getppid(), request.asker(), threading.Event()
    while os.getppid() == launcher and (asker is None or asker.is_running()):
        if is_first and mailbox.is_stop_asked:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        pause.wait(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    pause.wait(_GRACE_S)
    os._exit(EXIT_TERMINATED)  # deaf to the signal: waiting for a rank that is gone


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
