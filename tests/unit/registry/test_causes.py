"""Every cause has its own advice: an outage is no full disk."""

import errno
import sqlite3

import pytest
from mlflow.exceptions import MlflowException

from ofa_pipeline.registry.causes import MAX_LENGTH, advice_for_file, explain

SERVER = "http://127.0.0.1:5000"
FILE = "sqlite:////ws/mlflow.db"
DATABASE = "postgresql://me:secret@host/db"


@pytest.mark.parametrize(
    ("address", "text", "advice"),
    [
        (
            SERVER,
            "Max retries exceeded ... NewConnectionError: Connection refused",
            "Nobody answers",
        ),
        (
            SERVER,
            "('Connection aborted.', RemoteDisconnected('Remote end closed'))",
            "Nobody answers",
        ),
        (SERVER, "failed with timeout exception Read timed out. (read timeout=60)", "in time"),
        (
            SERVER,
            "Failed to resolve 'nohost' ([Errno -2] Name or service not known)",
            "name of its",
        ),
        (
            SERVER,
            "failed with error code 401 != 200. Response body: 'no'",
            "MLFLOW_TRACKING_USERNAME",
        ),
        (SERVER, "failed with error code 403 != 200", "ALLOWED_HOSTS"),
        (SERVER, "failed with error code 404 != 200", "no MLflow server"),
        (SERVER, "HTTP Error 502: Bad Gateway", "proxy"),
        (SERVER, "INTERNAL_ERROR: oops", "log"),
        (SERVER, "INTERNAL_ERROR: Response: {'detail': 'Not Found'}", "no MLflow server"),
        (SERVER, "INTERNAL_ERROR: nothing is at '/api/2.0/mlflow'. See /docs", "no MLflow server"),
        (SERVER, "certificate verify failed: self-signed", "CERT_PATH"),
        (SERVER, "(sqlite3.OperationalError) database or disk is full", "disk is full"),
        (SERVER, "something new", "own log"),
        (FILE, "(sqlite3.OperationalError) database is locked", "mlflow ui"),
        (FILE, "(sqlite3.OperationalError) database or disk is full", "disk is full"),
        (FILE, "attempt to write a readonly database", "permissions"),
        (FILE, "unable to open database file", "permissions"),
        (FILE, "database disk image is malformed", "damaged"),
        (FILE, "Can't locate revision identified by 'x'", "another version of MLflow"),
        (FILE, "something new", "Look at the file"),
        (DATABASE, "No module named 'psycopg2'", "pip install psycopg2-binary"),
        (DATABASE, 'FATAL: password authentication failed for user "me"', "user or the password"),
        (DATABASE, 'FATAL: database "db" does not exist', "Create that database"),
        (DATABASE, 'connection to server at "host" failed: Connection refused', "Nobody answers"),
        (DATABASE, "something new", "log of the database"),
    ],
)
def test_advice_fits_the_cause(address, text, advice):
    reason, given = explain(MlflowException(text), address)
    assert advice in given
    assert ("disk is full" in given) == ("disk is full" in text)
    assert reason == text.rstrip(".")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_known_by_its_number_wherever_it_stands(number):
    inner = OSError(number, "what the system calls it")
    error = MlflowException("INTERNAL: could not upload")
    error.__cause__ = inner
    assert "disk is full" in explain(error, FILE)[1]
    assert "disk is full" in advice_for_file(inner)


def test_cause_inside_is_found_where_mlflow_only_wraps_it():
    error = MlflowException(sqlite3.OperationalError("database is locked"))
    assert "mlflow ui" in explain(error, FILE)[1]


def test_reason_is_one_short_line_without_secrets():
    text = f"no route to {DATABASE} " + 1000 * "x" + "\nTraceback"
    reason, _ = explain(MlflowException(text), DATABASE)
    assert "secret" not in reason
    assert "\n" not in reason
    assert len(reason) <= MAX_LENGTH + 3


def test_of_files_that_could_not_be_copied_the_cause_is_told():
    text = (
        "The following failures occurred while downloading one or more artifacts from /ws:\n"
        "##### File a/b.bin #####\n[Errno 28] No space left on device\n"
    )
    reason, advice = explain(MlflowException(text), FILE)
    assert reason.endswith("from /ws: [Errno 28] No space left on device")
    assert "disk is full" in advice
