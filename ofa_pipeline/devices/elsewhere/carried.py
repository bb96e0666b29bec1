"""What runs on a node of a cluster to measure a folder there; it is carried there as a value.

Of the standard library alone: a node has the runtime of the device, not this package.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

_BEGIN = """
import ctypes, runpy, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with who started it
runpy.run_path("measure.py", run_name="__main__")
"""
_COMPLETE = "copied"
_SAID = "stderr.txt"
_MOST_SAID = 1000
"""Characters from the end: what it ended with stands there."""


def measure(
    identifier: str,
    files: Mapping[str, Any],
    get: Callable[[Any], bytes],
    result_name: str,
    python: str | None,
) -> Iterator[tuple[str, Any]]:
    """Measure a folder, and yield ``("line", text)`` for each line that the script prints.

    What was measured stays until `forget`: the next call with the same identifier goes on there.

    Args:
        identifier: Of the folder, the same for the same content.
        files: References to the content of each file, by its path in the folder.
        get: Fetches the content of a reference.
        result_name: The file that the script writes.
        python: What runs the script; None: the Python of this node.

    Yields:
        At last ``("result", content)``, or ``("failed", what it said)``.
    """
    folder = _folder(identifier)
    if not (folder / _COMPLETE).exists():
        _write(folder, files, get)
    # What it complains of goes to a file: a pipe that nobody reads yet would stop it when full.
    with (folder / _SAID).open("w+", errors="replace") as complaints:
        try:
            process = _start(folder, python or sys.executable, complaints)
        except OSError as error:
            yield "failed", f"{python} cannot be run: {error.strerror or error}"
            return
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                yield "line", line
            returncode = process.wait()
        complaints.seek(0)
        said = complaints.read()[-_MOST_SAID:]
    if returncode:
        yield "failed", said or f"exit code {returncode}"
    else:
        yield "result", (folder / result_name).read_bytes()


def forget(identifier: str) -> None:
    """Remove what was measured in a folder, and the folder."""
    shutil.rmtree(_folder(identifier), ignore_errors=True)


def _folder(identifier: str) -> Path:
    return Path.home() / ".cache" / "ofa-pipeline" / identifier


def _write(folder: Path, files: Mapping[str, Any], get: Callable[[Any], bytes]) -> None:
    for name, reference in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(get(reference))
    (folder / _COMPLETE).touch()


def _start(folder: Path, python: str, complaints: IO[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [python, "-c", _BEGIN],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        errors="replace",
    )
