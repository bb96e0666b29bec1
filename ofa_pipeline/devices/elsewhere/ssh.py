"""The way over ssh: a folder is copied to a host and measured there, and its result fetched.

The system's ``ssh`` and ``scp`` do it, with the user's keys, hosts and configuration.
"""

import re
import secrets
import shlex
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ofa_pipeline.devices.elsewhere.folder import result_name
from ofa_pipeline.devices.elsewhere.following import (
    Following,
    LostError,
    UnreachedError,
    keep_trying,
)
from ofa_pipeline.documents import MeasuringTask
from ofa_pipeline.errors import DeviceError, shorten
from ofa_pipeline.progress import SILENT, Reporter

_NOT_RUN = (126, 127)
"""What a shell ends with where a program is not there, or none."""
_LOST = 255
"""What ssh ends with when the connection, and not the program there, failed."""
_UNREACHED = re.compile(r"ssh: (connect to host|Could not resolve hostname) ")
"""What ssh says first where there was no connection at all."""
_TOO_OLD = "Python 3.9 or newer must run this"
"""What the script says of a Python that is too old."""
_ADVICE = "Check that it is on, and the host and the port in params.yaml (location)."
_SAID = "stderr.txt"
_MOST_SAID = 1000
"""Characters from the end: what it ended with stands there."""
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
}


def measure_over_ssh(
    location: str,
    folder: Path,
    task: MeasuringTask,
    *,
    python: str = "python3",
    reporter: Reporter = SILENT,
) -> Path:
    """Measure an exported folder on a host, and return the path of its result, in the folder.

    What was measured stays on the host until all is: after a lost connection, or a kill here, the
    same call goes on from there.

    Args:
        location: ``ssh://USER@HOST:PORT``.
        folder: What `write_folder` wrote.
        task: What it returned.
        python: What runs the script there.
        reporter: Told of the progress.

    Raises:
        DeviceError: If the host cannot be reached or measured on; says what to do.
    """
    host = _Host.of(location)
    connection = f"the connection to {host.name}"
    there = f".cache/ofa-pipeline/{task.id[:12]}"
    keep_trying(
        connection,
        lambda: _copy(host, folder, there),
        advice=f"{_ADVICE} What was measured there before is kept.",
    )
    following = Following(reporter, host.name, total=len(task.networks))
    words = f"cd {there} && exec {python} measure.py"
    keep_trying(
        connection,
        lambda: host.follow(words, following.note, said=folder / _SAID),
        progress_of=lambda: following.done,
    )
    name = result_name(task)
    keep_trying(connection, lambda: host.run(host.scp(host.there(f"{there}/{name}"), str(folder))))
    _remove(host, there, reporter)
    return folder / name


def check_over_ssh(
    location: str,
    folder: Path,
    task: MeasuringTask,
    *,
    python: str = "python3",
    reporter: Reporter = SILENT,
) -> Path:
    """Measure a folder on a host, leave nothing there, and return the path of the result here.

    The arguments are those of `measure_over_ssh`. After a lost connection it begins anew.

    Raises:
        DeviceError: If the host cannot be reached or measured on; says what to do.
    """
    host, found = _Host.of(location), folder / result_name(task)

    def measure() -> None:
        following = Following(reporter, host.name, total=len(task.networks))
        words = f"{python} measure.py && cat {found.name}"
        found.write_text(_run_and_leave(host, folder, words, following.note), encoding="utf-8")

    keep_trying(f"the connection to {host.name}", measure, advice=_ADVICE)
    return found


def ask_over_ssh(location: str, folder: Path, *, python: str = "python3") -> str:
    """Return the card of a host as the script of a folder says it, and leave nothing there.

    Args:
        location: ``ssh://USER@HOST:PORT``.
        folder: What `write_folder` wrote.
        python: What runs the script there.

    Raises:
        DeviceError: If it lets nobody in, or cannot be measured on; says what to do.
        LostError: If it cannot be reached.
    """
    return _run_and_leave(_Host.of(location), folder, f"{python} measure.py --card", lambda _: None)


@dataclass(frozen=True, slots=True)
class _Host:
    """A host as ssh and scp call it."""

    name: str
    """With the user, where one is named."""
    port: int | None

    @classmethod
    def of(cls, location: str) -> "_Host":
        parts = urlsplit(location)
        user = f"{parts.username}@" if parts.username else ""
        return cls(name=f"{user}{parts.hostname}", port=parts.port)

    def ssh(self, command: str) -> list[str]:
        port = ["-p", str(self.port)] if self.port else []
        return ["ssh", *_options(), *port, self.name, command]

    def scp(self, *paths: str) -> list[str]:
        port = ["-P", str(self.port)] if self.port else []
        return ["scp", "-q", "-r", *_options(), *port, *paths]

    def there(self, path: str) -> str:
        return f"{self.name}:{path}"

    def run(self, command: Sequence[str]) -> str:
        """Run a command and return what it printed.

        Raises:
            DeviceError: If it fails.
            LostError: If the connection does; `UnreachedError` where it was never made.
        """
        try:
            finished = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False
            )
        except FileNotFoundError as error:
            raise DeviceError(
                f"{command[0]} must be installed to measure on {self.name}, but is not found. "
                "Install OpenSSH, or give the device location: away, and carry a folder there."
            ) from error
        is_lost = command[0] == "scp" and finished.returncode == 1 and "lost" in finished.stderr
        self.check(_LOST if is_lost else finished.returncode, finished.stderr)
        return finished.stdout

    def follow(self, words: str, note: Callable[[str], None], *, said: Path) -> None:
        """Run words in a shell there, and take notice of each line as it is printed.

        Args:
            words: For the shell.
            note: Told of each line.
            said: Where what it complains of goes: a pipe that nobody reads yet would stop it.

        Raises:
            DeviceError: If it fails.
            LostError: If the connection does.
        """
        with (
            said.open("w+", errors="replace") as complaints,
            subprocess.Popen(
                self.ssh(words),
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                note(line)
            returncode = process.wait()
            complaints.seek(0)
            complaint = complaints.read()[-_MOST_SAID:]
        self.check(returncode, complaint)

    def check(self, returncode: int, said: str) -> None:
        """Check how a program ended; see `run`."""
        said = " ".join(said.split())
        if returncode == 0:
            return
        if "Host key verification failed" in said:
            raise DeviceError(
                f"the key of {self.name} must be known, but is not, or is another than before: "
                f"{shorten(said, 300)} Connect once by hand and compare it: {self._typed}"
            )
        if "Permission denied (" in said:  # of a file, a program says it without the ways in
            raise DeviceError(
                f"{self.name} must let us in without a password, but says: {shorten(said, 300)} "
                "Copy your key there: ssh-copy-id, or add it to an agent: ssh-add"
            )
        # A Python that is much too old cannot even say so.
        if returncode in _NOT_RUN or "SyntaxError" in said or _TOO_OLD in said:
            raise DeviceError(
                f"{self.name} must have Python 3.9 or newer, but says: {shorten(said, 300)}. "
                f"Install it there (Debian, Ubuntu: {self._typed} sudo apt-get install python3), "
                "or name it as python in the device's card: device add --python"
            )
        if returncode in (_LOST, -13):
            kind = UnreachedError if _UNREACHED.match(said) else LostError
            raise kind(shorten(said, 300) or "the connection was closed")
        raise DeviceError(f"{self.name}: {shorten(said, 1000) or f'exit code {returncode}'}")

    @property
    def _typed(self) -> str:
        """What a person types to get there."""
        return f"ssh {f'-p {self.port} ' if self.port else ''}{self.name}"


def _options() -> list[str]:
    return [word for key, value in _OPTIONS.items() for word in ("-o", f"{key}={value}")]


def _copy(host: _Host, folder: Path, there: str) -> None:
    """Copy a folder, unless an earlier run has."""
    copied = f"{there}/copied"
    if host.run(host.ssh(f"mkdir -p {there}; test ! -e {copied} || echo yes")).strip() == "yes":
        return
    host.run(host.scp(f"{folder}/.", host.there(f"{there}/")))
    host.run(host.ssh(f"touch {copied}"))


def _run_and_leave(host: _Host, folder: Path, words: str, note: Callable[[str], None]) -> str:
    """Run words in a copy of a folder that is gone afterwards; return the last line printed.

    The same command removes it, so it is gone also where the connection is lost meanwhile.
    """
    there, last = f".ofa-pipeline-{secrets.token_hex(6)}", ""

    def keep(line: str) -> None:
        nonlocal last
        last = line
        note(line)

    has_copied = has_ended = False
    try:
        host.run(host.ssh(f"mkdir {there}"))  # first: scp does not say why it cannot connect
        host.run(host.scp(f"{folder}/.", host.there(f"{there}/")))
        has_copied = True
        in_it = f"(cd {there} && {words}); code=$?; rm -rf {there}; exit $code"
        host.follow(f"sh -c {shlex.quote(in_it)}", keep, said=folder / _SAID)
        has_ended = True
    except DeviceError:
        has_ended = has_copied
        raise
    finally:
        if not has_ended:
            with suppress(LostError, DeviceError):
                host.run(host.ssh(f"rm -rf {there}"))
    return last


def _remove(host: _Host, there: str, reporter: Reporter) -> None:
    """Remove a folder whose result is here; where that fails, only say so."""
    try:
        host.run(host.ssh(f"rm -rf {there}"))
    except (LostError, DeviceError) as error:
        reporter.message(f"{there} stays on {host.name}, where it could not be removed: {error}")
