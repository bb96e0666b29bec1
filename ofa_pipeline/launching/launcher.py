"""Start ranks by a launcher, follow them, and say what went wrong where something did."""

import errno
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import ofa_pipeline
from ofa_pipeline.errors import LaunchError, shorten
from ofa_pipeline.exit_codes import EXIT_TERMINATED
from ofa_pipeline.launching.line import launch_words
from ofa_pipeline.launching.mailbox import Mailbox, RankRecord, Request
from ofa_pipeline.progress import Reporter

WORKER = "ofa_pipeline.training.worker"

_NOT_STARTED = (errno.ENOENT, errno.EACCES, errno.ENOEXEC)
_POLL_S = 0.2
_QUIET_S = 60.0
"""When to say that no rank has begun."""
_STOP_S = 300.0
"""How long ranks may take from being asked to end to having saved."""
_TERMINATE_S = 40.0
"""How long a launcher may take to end its ranks: torchrun gives them 30 seconds."""
_TAIL_LINES = 4
_MAX_TAIL = 1000
_TORCHRUN_RANK = re.compile(
    r"Root Cause.*?rank\s*:\s*(\d+).*?exitcode\s*:\s*(-?\d+)", flags=re.DOTALL
)
_RESUME = "The last checkpoint is kept: run the same command again to go on from it."


def launch(line: str, request: Request, *, mailbox: Mailbox, reporter: Reporter) -> None:
    """Start ranks and wait until all have done what is requested.

    Ctrl-C and SIGTERM ask them to save and end, and wait for it; a second Ctrl-C ends them.

    Args:
        line: Command that starts the ranks: ``LINE -m ofa_pipeline.training.worker REQUEST``.
        request: What each rank does.
        mailbox: Where they leave their messages; it is emptied first.
        reporter: Gets the progress of the first rank.

    Raises:
        ParamsError: If the line cannot be run here.
        LaunchError: If a rank failed or was killed; the message names it.
        SystemExit: If the ranks were told to end, by whomever, and have saved.
    """
    words = launch_words(line)
    mailbox.empty()
    mailbox.write_request(request)
    process = _start([*words, "-m", WORKER, str(mailbox.request_path)], mailbox)
    told_at = time.monotonic() + _QUIET_S
    try:
        while process.poll() is None:
            _pass_on(mailbox, reporter)
            if time.monotonic() > told_at:
                told_at = math.inf
                _tell_of_a_queue(words[0], mailbox, reporter)
            time.sleep(_POLL_S)
        _pass_on(mailbox, reporter)
    except BaseException:
        _stop(process, mailbox)
        raise
    _judge(process.returncode, mailbox)


def _start(words: Sequence[str], mailbox: Mailbox) -> "subprocess.Popen[bytes]":
    """Start the launcher.

    Raises:
        LaunchError: If the system cannot.
    """
    try:
        with mailbox.log_path.open("wb") as log:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(os.environ),
                start_new_session=True,  # Ctrl-C is ours to pass on
            )
    except OSError as error:
        if error.errno not in _NOT_STARTED:
            raise
        raise LaunchError(
            f"compute.training.launch must begin with a program that runs here, but {words[0]} "
            f"does not start: {error.strerror}. Of a script, look at the program that its first "
            "line names, such as #!/bin/sh"
        ) from error


def _tell_of_a_queue(program: str, mailbox: Mailbox, reporter: Reporter) -> None:
    """Say which ranks the launcher has not started yet: it waits for its turn, or for ever."""
    records = mailbox.read_records()
    if not records or len(records) < records[0].size:
        begun = f"{len(records)} of {records[0].size} ranks have" if records else "no rank has"
        reporter.message(
            f"{begun} begun after {_QUIET_S:.0f} s: waiting for {Path(program).name}, whose "
            f"output is in {mailbox.log_path}"
        )


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the ranks: they import the package that this process has."""
    root = str(Path(ofa_pipeline.__file__).parents[1])
    paths = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {
        "OMP_NUM_THREADS": "1",  # until training sets its own number; torchrun warns without it
        **environment,
        "PYTHONPATH": os.pathsep.join([root, *(entry for entry in paths if entry != root)]),
    }


def _pass_on(mailbox: Mailbox, reporter: Reporter) -> None:
    for event in mailbox.read_progress():
        reporter.pass_on(event)


def _stop(process: subprocess.Popen[bytes], mailbox: Mailbox) -> None:
    """Have the ranks save and end; whoever asks again, or waits too long, has them ended.

    Without a rank that has begun the launcher is ended at once.
    """
    try:
        mailbox.ask_to_stop()
        # In a queue of Slurm no rank has begun: none can read that, or has work to save.
        process.wait(_STOP_S if mailbox.read_records() else 0)
    except (subprocess.TimeoutExpired, KeyboardInterrupt, SystemExit):
        process.terminate()
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(_TERMINATE_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _judge(exit_code: int, mailbox: Mailbox) -> None:
    """Raise what the end of a launch means, if it is not that all ranks are done.

    Raises:
        LaunchError: If a rank failed or was killed.
        SystemExit: If all ended because they were told to.
    """
    records = mailbox.read_records()
    states = {record.state for record in records}
    is_whole = bool(records) and len(records) == records[0].size
    if exit_code == 0 and is_whole and states == {"done"}:
        return
    if is_whole and states == {"stopped"}:  # a launcher that passed a signal on may end otherwise
        raise SystemExit(EXIT_TERMINATED)
    log = mailbox.log_path.read_text(errors="replace")
    raise LaunchError(_explain(exit_code, records, log=log, log_path=mailbox.log_path))


def _explain(exit_code: int, records: Sequence[RankRecord], *, log: str, log_path: Path) -> str:
    """Return which rank is to blame, and what to do."""
    output = f"Its output is in {log_path}."
    named = _TORCHRUN_RANK.search(log)
    if named and int(named[2]) < 0:  # of several that are gone, the first
        number, code = int(named[1]), int(named[2])
        return (
            f"{_name(records, number)} was killed by {_signal_name(-code)} (exit code {code}). "
            + (f"{_cause_of(-code)}{_RESUME} {output}")
        )
    for record in sorted(records, key=lambda record: not record.is_explained):
        if record.state == "failed" and record.is_explained:
            return f"{record.name}: {record.error}"
    gone = [record for record in records if record.state == "begun"]
    if gone:
        names = " and ".join(record.name for record in gone)
        return (
            f"{names} ended without a word, as a process does that is killed; the launcher's exit "
            f"code is {exit_code}. {_cause_of(signal.SIGKILL)}{_RESUME} {output}"
        )
    failed = [record for record in records if record.state == "failed"]
    if failed:
        number = int(named[1]) if named else failed[0].rank
        first = next((record for record in failed if record.rank == number), failed[0])
        return f"{first.name} failed: {first.error}. {_RESUME} {output}"
    begun = f"{len(records)} of {records[0].size} ranks" if records else "no rank"
    return (
        f"the launcher ended with exit code {exit_code} and {begun} began. Its last lines: "
        f"{_tail(log)}. Check compute.training.launch. {output}"
    )


def _name(records: Sequence[RankRecord], number: int) -> str:
    return next((record.name for record in records if record.rank == number), f"rank {number}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _cause_of(number: int) -> str:
    if number != signal.SIGKILL:
        return ""
    return (
        "The kernel kills so when memory runs out (`dmesg` says it): if so, start fewer ranks, or "
        "lower training.batch_size. "
    )


def _tail(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return shorten(" / ".join(lines[-_TAIL_LINES:]) or "none", _MAX_TAIL)
