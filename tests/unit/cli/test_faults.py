"""No message blames the program for an input or an outage, and advice fits the cause."""

import errno
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import urllib.error
import zipfile

import pytest

from ofa_pipeline.cli.output import MAX_MESSAGE, describe_error
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.progress import ProgressEvent
from ofa_pipeline.stages.events import MAX_LINE, StageEvent

BLAME = "fault of the program"


def raised_from(error, cause):
    error.__cause__ = cause
    return error


def of_library(module, name, *bases):
    """Return an error as a library would raise it, told by the name of its class alone."""
    return type(name, bases or (Exception,), {"__module__": module})("it says why")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), "nested deeper"),
        (socket.gaierror(-2, "Name or service not known"), "name of a server is unknown"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "does not answer"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "does not answer"),
        (TimeoutError("timed out"), "does not answer"),
        (urllib.error.URLError("unreachable"), "unreachable"),
        (ssl.SSLError(1, "certificate verify failed"), "certificate"),
        (subprocess.CalledProcessError(128, ["git", "status"]), "git"),
        (FileNotFoundError(errno.ENOENT, "No such file", "git"), "Install the program git"),
        (sqlite3.OperationalError("database is locked"), "database is locked"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "not in range"), "UTF-8"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "UTF-8"),
        (json.JSONDecodeError("Expecting value", "", 0), "damaged"),
        (zipfile.BadZipFile("File is not a zip file"), "damaged"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "make setup"),
        (OSError("cannot identify image file"), "cannot identify image file"),
        (OSError(errno.ENOTRECOVERABLE, "State not recoverable"), "State not recoverable"),
        (RuntimeError("Failed to reach API at http://x/api"), "Prefect's server"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (RuntimeError("CUDA error: an illegal memory access"), "accelerator"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (of_library("httpx", "ConnectError"), "does not answer"),
        (of_library("requests.exceptions", "RequestException", OSError), "does not answer"),
        (of_library("prefect.exceptions", "PrefectHTTPStatusError"), "PREFECT_API_URL"),
        (of_library("mlflow.exceptions", "MlflowException"), "MLFLOW_TRACKING_URI"),
        (of_library("dvc.exceptions", "DvcException"), "dvc status"),
        (of_library("sqlalchemy.exc", "OperationalError"), "database"),
        (of_library("pyarrow.lib", "ArrowInvalid", ValueError), "damaged"),
        (of_library("torch", "OutOfMemoryError", RuntimeError), "not enough memory"),
        (of_library("numpy._core._exceptions", "_ArrayMemoryError", MemoryError), "memory"),
        (raised_from(RuntimeError("failed"), ConnectionError("gone")), "does not answer"),
        (raised_from(ValueError("x"), OSError(errno.ENOSPC, "No space left")), "Free space"),
        (ExceptionGroup("g", [ConnectionError("gone")]), "does not answer"),
    ],
)
def test_inputs_and_outages_are_named_as_such(error, words):
    text = describe_error(error)
    assert words in text
    assert BLAME not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "code",
    [
        errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE,
        errno.ENFILE, errno.ENAMETOOLONG, errno.EIO, errno.ENOTDIR, errno.EISDIR, errno.ELOOP,
        errno.ESTALE, errno.EAGAIN, errno.ENOMEM, errno.EADDRINUSE, errno.ENOLCK, errno.EPIPE,
    ],
)  # fmt: skip
def test_every_error_of_the_system_has_an_advice(code):
    text = describe_error(OSError(code, os.strerror(code), "/somewhere/file"))
    assert text.startswith(f"{os.strerror(code)} (/somewhere/file). ")
    assert BLAME not in text
    assert "--workspace" not in text  # another workspace would not help there


@pytest.mark.parametrize(
    ("variable", "advice"), [("TMPDIR", "set TMPDIR"), ("HOME", "set HOME"), (None, "--workspace")]
)
def test_another_folder_is_advised_where_it_helps(tmp_path, monkeypatch, variable, advice):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ofa-pipeline", "run", "--workspace", str(tmp_path / "w")])
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setenv("HOME", str(tmp_path / "h"))
    folder = {"TMPDIR": "t", "HOME": "h", None: "w"}[variable]
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / folder / "x"))
    assert advice in describe_error(error)


@pytest.mark.parametrize("words", [["--to", "out"], ["--to=out"], ["--workspace", ".", "out"]])
def test_place_that_was_given_is_named(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ofa-pipeline", "device", "export", "board", *words])
    error = OSError(errno.ENOSPC, "No space left on device", "out/networks/a.onnx")
    assert "or name another place than out." in describe_error(error)


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), RuntimeError("x"), ValueError()])
def test_what_is_neither_asks_for_a_report(error):
    assert BLAME in describe_error(error)


def test_error_met_on_the_way_is_no_cause():
    error = TypeError("x")
    error.__context__ = ConnectionError("gone")
    assert BLAME in describe_error(error)


@pytest.mark.parametrize("kind", [ParamsError, RuntimeError, OSError, ConnectionError])
def test_message_fits_a_screen(kind):
    text = describe_error(kind("start " + "x" * 10**6 + " do this"))
    assert len(text) < MAX_MESSAGE + 100
    assert "more) ..." in text


def test_long_error_of_a_stage_is_sent_whole():
    progress = ProgressEvent(label="\N{EARTH GLOBE EUROPE-AFRICA}" * 5000)
    event = StageEvent(kind="failed", error="é" * MAX_MESSAGE, exit_code=4, progress=progress)
    line = event.to_line()
    assert len(line) <= MAX_LINE
    assert StageEvent.from_line(line).exit_code == 4
