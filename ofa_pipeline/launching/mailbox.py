"""The folder in which a stage and the ranks that it launched leave each other messages.

All of them see it, whatever started the ranks and on whichever node: files on the workspace's file
system are the one thing that torchrun, Slurm and MPI have in common. Each file has one writer.
"""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import psutil
from filelock import FileLock, Timeout

from ofa_pipeline.artifacts import write_bytes, write_json
from ofa_pipeline.errors import LaunchError
from ofa_pipeline.progress import ProgressEvent

RankState = Literal["begun", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the ranks shall do, and for whom."""

    work: str
    """``module:function``, called in each rank with the arguments and a `Rank`."""
    arguments: Mapping[str, Any]
    """Plain values, as JSON has them."""
    host: str
    pid: int
    """The process that waits for the ranks, on that host."""
    begun: float
    """When that process began: another one may get its number later."""

    @classmethod
    def of_this_process(cls, work: str, arguments: Mapping[str, Any]) -> "Request":
        """Return a request whose ranks end when this process does."""
        process = psutil.Process()
        return cls(
            work=work,
            arguments=arguments,
            host=socket.gethostname(),
            pid=process.pid,
            begun=process.create_time(),
        )

    def asker(self) -> psutil.Process | None:
        """Return the process that waits; None where it cannot be seen from here, or is gone."""
        if socket.gethostname() != self.host:
            return None
        try:
            process = psutil.Process(self.pid)
            return process if process.create_time() == self.begun else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRecord:
    """What a rank says of itself."""

    rank: int
    size: int
    host: str
    pid: int
    state: RankState
    error: str = ""
    """What made it fail, in words."""
    is_explained: bool = False
    """Whether the error says what to do; others, such as a lost connection, may only be the
    consequence of what happened to another rank."""

    @property
    def name(self) -> str:
        """Which of how many, and where."""
        return f"rank {self.rank} of {self.size} (process {self.pid} on {self.host})"


class Mailbox:
    """The messages of one launch."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; `empty` makes it."""
        self.folder = folder
        self._read_bytes = 0

    @cached_property
    def request_path(self) -> Path:
        """File of the request, which ranks are told of."""
        return self.folder / "request.json"

    @property
    def log_path(self) -> Path:
        """What the launcher and the ranks print."""
        return self.folder / "output.log"

    @property
    def meeting_path(self) -> Path:
        """Where the first rank can be reached, if the launcher does not say."""
        return self.folder / "meeting"

    def empty(self) -> None:
        """Make the folder anew, without what an earlier launch left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def write_request(self, request: Request) -> None:
        """Leave the request for the ranks; the order of phases, for one, says something."""
        write_bytes(self.request_path, json.dumps(asdict(request)).encode())

    def read_request(self) -> Request:
        """Return what the ranks shall do.

        Raises:
            LaunchError: If it is not there.
        """
        try:
            return Request(**json.loads(self.request_path.read_text()))
        except FileNotFoundError as error:
            raise LaunchError(
                f"a rank on {socket.gethostname()} must see the request {self.request_path}, but "
                "does not. Put the workspace on a file system that all nodes share, under the same "
                "path"
            ) from error

    @contextmanager
    def as_rank(self, number: int) -> Iterator[None]:
        """Be a rank while the body runs; no other process is it.

        Raises:
            LaunchError: If another process is.
        """
        lock = FileLock(self.folder / f"rank-{number}.lock", fallback_to_soft=False)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise LaunchError(
                f"each process must be a rank of its own, but two say that they are rank {number}. "
                "A launcher numbers them: do not set RANK and WORLD_SIZE by hand, and unset what "
                "another launcher has left"
            ) from error
        except (OSError, NotImplementedError):
            pass  # a file system without locks: this cannot be told
        try:
            yield
        finally:
            lock.release()

    def write_record(self, record: RankRecord) -> None:
        """Say how a rank is."""
        write_json(self.folder / f"rank-{record.rank}.json", asdict(record))

    def read_records(self) -> list[RankRecord]:
        """Return what the ranks said of themselves, in order."""
        found = (json.loads(path.read_text()) for path in self.folder.glob("rank-*.json"))
        return sorted((RankRecord(**values) for values in found), key=lambda record: record.rank)

    def report(self, event: ProgressEvent) -> None:
        """Append to the progress; the first rank does."""
        line = json.dumps(asdict(event)).encode() + b"\n"
        descriptor = os.open(self._progress_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def read_progress(self) -> list[ProgressEvent]:
        """Return the events since the last call."""
        try:
            with self._progress_path.open("rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
        except FileNotFoundError:
            return []
        whole, newline, _ = content.rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        return [ProgressEvent(**json.loads(line)) for line in whole.splitlines()]

    def ask_to_stop(self) -> None:
        """Ask the ranks to save and end."""
        write_bytes(self._stop_path, b"")

    @property
    def is_stop_asked(self) -> bool:
        """Whether somebody wants the ranks to end."""
        return self._stop_path.exists()

    @property
    def _stop_path(self) -> Path:
        return self.folder / "stop"

    @property
    def _progress_path(self) -> Path:
        return self.folder / "progress.jsonl"
