"""No password reaches the terminal: in an error of ours, of another program, or a traceback."""

import io

import pytest
from rich.table import Table

from ofa_pipeline.cli.output import PLAIN, SafeConsole, describe_error, report_error
from ofa_pipeline.errors import RegistryError

ADDRESS = "postgresql://me:s3cret@host/db?password=s3cret"


@pytest.mark.parametrize("kind", [RegistryError, OSError, KeyError, ConnectionError])
def test_error_is_described_without_its_password(kind):
    text = describe_error(kind(f"no answer from {ADDRESS}"))
    assert "s3cret" not in text
    assert "postgresql://me:***@host/db?password=***" in text


def test_traceback_and_what_caused_it_are_masked(capsys):
    cause = ConnectionError(f"the driver says {ADDRESS}")
    error = RegistryError("could not look up")
    error.__cause__ = cause
    report_error(error, debug=True)
    shown = capsys.readouterr().err
    assert "the driver says postgresql://me:***@host" in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("sign", ["\x1b", "\r", "\b", "\x9b", "\0"])
def test_terminal_obeys_nothing_that_a_registry_says(sign):
    said = f"stale: {sign}[2Jgone"
    console = SafeConsole(file=io.StringIO(), force_terminal=True, width=200)
    table = Table()
    table.add_column("name")
    table.add_row(said)
    console.print(said, **PLAIN)
    console.print(table)
    text = console.file.getvalue()
    assert text.count(f"\\x{ord(sign):02x}[2Jgone") == 2
    assert f"{sign}[2J" not in text


def test_password_of_the_environment_is_masked_where_only_it_is_quoted(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@host")
    assert describe_error(ValueError("nonnumeric port: 's3cret@host'")).count("***") == 1
