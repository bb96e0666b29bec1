"""What README and guides tell to type exists: commands, options and make targets."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from ofa_pipeline.cli.main import app

ROOT = Path(__file__).parents[2]
WALK = runpy.run_path(str(ROOT / "scripts" / "walk_docs.py"))
PAGES = (*WALK["PAGES"], "CONTRIBUTING.md")


def documented_commands():
    """Yield page and command of every shell block."""
    for page in PAGES:
        for block in WALK["blocks_of"](ROOT / page):
            if block.language in WALK["SHELLS"]:
                for command in WALK["commands_of"](block.text):
                    yield page, command.partition("  #")[0].strip()


COMMANDS = sorted(set(documented_commands()))


@pytest.mark.parametrize(
    ("page", "command"), [item for item in COMMANDS if "ofa-pipeline " in item[1]]
)
def test_documented_command_exists_with_its_options(page, command):
    words = shlex.split(command)
    names = words[next(i for i, word in enumerate(words) if word.endswith("ofa-pipeline")) + 1 :]
    found = typer.main.get_command(app)
    while isinstance(found, TyperGroup):
        name = names.pop(0)
        assert name in found.commands, f"{page}: {command!r} is no command"
        found = found.commands[name]
    found.make_context(found.name, names)  # raises on an unknown option


@pytest.mark.parametrize(("page", "command"), [c for c in COMMANDS if c[1].startswith("make ")])
def test_documented_target_exists(page, command):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert command.split()[1] in targets, page


def test_pages_have_commands():
    assert len(COMMANDS) > 15
