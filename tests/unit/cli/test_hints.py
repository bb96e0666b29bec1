"""What is printed to be pasted is right in the user's shell."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from ofa_pipeline.cli import app
from ofa_pipeline.cli.hints import (
    IN_A_WORKSPACE,
    PROGRAM_VARIABLE,
    command,
    named_workspace,
    pasteable,
    program,
)

ROOT = Path(__file__).parents[3]
PRINT = r"(?:stdout|stderr)\.print\((?:[^()]|\([^()]*\))*\)"


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Make this process one that was called by a command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PROGRAM_VARIABLE, raising=False)

    def set_words(*words):
        monkeypatch.setattr(sys, "argv", list(words))

    return set_words


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--workspace", "my work"),
        ("run", "--workspace=my work"),
        ("-w", "my work", "run"),
        ("run", "-wmy work"),
        ("run", "-w=my work"),
    ],
)
def test_workspace_is_found_however_it_is_written(words, call):
    call()
    assert named_workspace(words) == Path("my work")


def test_current_folder_needs_no_option(call, tmp_path):
    call()
    for words in ((), ("run", "-w", "."), ("run", "--workspace", f"../{tmp_path.name}")):
        assert named_workspace(words) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Run: ofa-pipeline run", "Run: ofa-pipeline run --workspace 'my work'"),
        (
            "Produce it with: ofa-pipeline stage search --item cpu.",
            "Produce it with: ofa-pipeline stage --workspace 'my work' search --item cpu.",
        ),
        ("See: ofa-pipeline subnets; or", "See: ofa-pipeline subnets --workspace 'my work'; or"),
        (
            "ofa-pipeline subnets --dataset any",
            "ofa-pipeline subnets --workspace 'my work' --dataset any",
        ),
        ("ofa-pipeline params check", "ofa-pipeline params check --workspace 'my work'"),
        ("ofa-pipeline zoo list", "ofa-pipeline zoo list"),
        ("ofa-pipeline run --workspace x", "ofa-pipeline run --workspace x"),
        ("see docs/ofa-pipeline run", "see docs/ofa-pipeline run"),
        ("ofa-pipeline runs", "ofa-pipeline runs"),
        ("nothing to run", "nothing to run"),
    ],
)
def test_commands_in_messages_get_the_workspace(text, expected, call):
    call("ofa-pipeline", "best", "--workspace", "my work")
    assert pasteable(text) == expected


def test_program_is_called_as_the_user_calls_it(call, tmp_path, monkeypatch):
    call(".venv/bin/ofa-pipeline", "best")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pasteable("Run: ofa-pipeline run") == "Run: .venv/bin/ofa-pipeline run"
    assert command("pull", "models:/x/1") == ".venv/bin/ofa-pipeline pull models:/x/1"
    (tmp_path / "ofa-pipeline").write_text("#!/bin/sh\n")
    (tmp_path / "ofa-pipeline").chmod(0o755)
    call(str(tmp_path / "ofa-pipeline"), "best")
    assert pasteable("Run: ofa-pipeline run") == "Run: ofa-pipeline run"


def test_program_of_an_outer_process_is_taken_over(call):
    call("/x/flows/run.py")
    assert program(sys.argv, {PROGRAM_VARIABLE: "'my env/bin/ofa-pipeline'"}).startswith("'my env")
    assert program(sys.argv, {}) == "ofa-pipeline"


@pytest.mark.parametrize("name", ["a b", "x'y", "$HOME", "a;b", "\u00e9", "#1"])
def test_commands_are_quoted_for_a_shell(name, call):
    call("ofa-pipeline", "best", "--workspace", name)
    words = shlex.split(command("pull", "models:/x/1", name))
    assert words == ["ofa-pipeline", "pull", "models:/x/1", name, "--workspace", name]


def test_list_of_commands_in_a_workspace_is_that_of_the_application():
    group = typer.main.get_command(app)
    found = set()
    for name, one in group.commands.items():
        for inner, leaf in getattr(one, "commands", {"": one}).items():
            if any("--workspace" in option.opts for option in leaf.params):
                found.add(f"{name} {inner}".strip())
    assert found == set(IN_A_WORKSPACE)


def test_no_printed_command_can_be_wrapped():
    """A console wraps what it prints unless it is told otherwise."""
    for path in sorted((ROOT / "ofa_pipeline" / "cli").glob("*.py")):
        for call_text in re.findall(
            r"(?:stdout|stderr)\.print\((?:[^()]|\([^()]*\))*\)", path.read_text()
        ):
            if "ofa-pipeline " in call_text or "command(" in call_text:
                assert "PLAIN" in call_text or "soft_wrap=True" in call_text, (path, call_text)
