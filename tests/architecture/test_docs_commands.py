"""What README and guides tell to type exists, and their snippets are whole."""

import ast
import importlib
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer.main
from ruamel.yaml import YAML
from typer.core import TyperGroup

from ofa_pipeline.cli.main import app
from ofa_pipeline.params import parse_params
from ofa_pipeline.workspace import create_workspace

ROOT = Path(__file__).parents[2]
WALK = runpy.run_path(str(ROOT / "scripts" / "walk_docs.py"))
PAGES = (*WALK["PAGES"], "CONTRIBUTING.md", "docs/recipes.md")
INLINE = re.compile(r"(?<!`)`(ofa-pipeline [a-z][^`]*)`(?!`)")
OTHER_PROGRAMS = {"curl", "docker", "git", "mkdir", "openssl", "optuna-dashboard", "ray"}
OTHER_PROGRAMS |= {"source", "uv"}
"""Programs whose command lines are not looked into."""


def blocks(*languages):
    """Yield page and block of the fenced blocks of some languages."""
    for page in PAGES:
        for block in WALK["blocks_of"](ROOT / page):
            if block.language in languages:
                yield page, block


def documented_commands():
    """Yield page and command: of shell blocks, of what a reader brings along, and in the text."""
    for page, block in blocks(*WALK["SHELLS"]):
        for command in [*block.rest_of("before"), *WALK["commands_of"](block.text)]:
            for part in re.split(r" && ", command.partition("  #")[0].strip()):
                yield page, part
    for page in PAGES:
        for found in INLINE.findall((ROOT / page).read_text().replace("\n", " ")):
            yield page, found


COMMANDS = sorted(set(documented_commands()))


def commands(program):
    found = [item for item in COMMANDS if shlex.split(item[1])[0] == program]
    assert found, program
    return found


def parse(command):
    """Parse a command of ours as the command line does, without running it."""
    names = shlex.split(command.removesuffix(" ..."))[1:]
    found = typer.main.get_command(app)
    while isinstance(found, TyperGroup):
        name = names.pop(0)
        assert name in found.commands, f"{command!r} is no command"
        found = found.commands[name]
    # Text may name a command without what it needs; what it does name has to be right.
    is_part = not names or command.endswith(" ...")
    found.make_context(found.name, names, resilient_parsing=is_part)


@pytest.mark.parametrize(("page", "command"), commands("ofa-pipeline"))
def test_documented_command_exists_with_its_options(page, command):
    parse(command)


@pytest.mark.parametrize(("page", "command"), commands("make"))
def test_documented_target_exists(page, command):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert command.split()[1] in targets, page


@pytest.mark.parametrize(("page", "command"), commands("dvc"))
def test_documented_command_of_dvc_exists_with_its_options(page, command):
    from dvc.cli.parser import get_main_parser

    get_main_parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize(("page", "command"), commands("python"))
def test_documented_program_exists_with_its_options(page, command):
    _, program, *words = shlex.split(command)
    text = (ROOT / program).read_text()
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in text] == []


def test_no_command_is_overlooked():
    known = {"ofa-pipeline", "make", "dvc", "python", "mlflow", "prefect", "cp", "export"}
    known |= {*OTHER_PROGRAMS}
    programs = {shlex.split(command)[0] for _, command in COMMANDS}
    assert programs <= known
    assert len(COMMANDS) > 50


@pytest.mark.parametrize(
    ("page", "block"), list(blocks("yaml")), ids=lambda value: getattr(value, "line", value)
)
def test_snippet_of_params_is_whole(page, block, tmp_path):
    [preset] = block.rest_of("preset") or [None]
    create_workspace(tmp_path, preset=preset)
    yaml = YAML(typ="safe")
    values = WALK["merged"](yaml.load(tmp_path / "params.yaml"), yaml.load(block.text))
    parse_params(values, origin=f"{page}:{block.line}")


@pytest.mark.parametrize("page", sorted({page for page, _ in blocks("python")}))
def test_python_of_a_page_goes_together_and_imports_what_exists(page):
    text = "".join(block.text for one, block in blocks("python") if one == page)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("ofa_pipeline"):
            module = importlib.import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_every_guide_is_walked():
    guides = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/guides/*.md")}
    assert {"README.md", *guides} == {*WALK["PAGES"]}
