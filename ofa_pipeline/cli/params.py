"""`ofa-pipeline params`: look at params.yaml, and at what it names."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ofa_pipeline.cli.environment import settle_for_a_look
from ofa_pipeline.cli.options import WorkspaceOption
from ofa_pipeline.cli.output import stdout
from ofa_pipeline.errors import ParamsError

if TYPE_CHECKING:
    from ofa_pipeline.preflight import Finding

_MARKS = {"right": "[green]ok[/]", "doubtful": "[yellow]??[/]", "wrong": "[red]no[/]"}


def add_commands(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(help="Look at params.yaml.", no_args_is_help=True)
    group.command("check")(check)
    app.add_typer(group, name="params")


def check(
    file: Annotated[
        Path | None, typer.Argument(help="The file to check.", show_default="the workspace's")
    ] = None,
    *,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Check params.yaml, and what it names: images, devices, schedule, registry, Prefect.

    Says what was looked at and what was not. `run` checks the same before it works.
    """
    settle_for_a_look(os.environ)
    from ofa_pipeline.params import load_params
    from ofa_pipeline.preflight import NOT_CHECKED, Finding, look

    path = file or workspace / "params.yaml"
    # What a file elsewhere names is meant from where it lies.
    is_beside = file is not None and file.is_file() and workspace == Path()
    root = path.parent if is_beside else workspace
    params = load_params(path)
    _show(Finding("settings", f"{path}: names, types, ranges, and what must fit together"))
    faults = []
    for finding in look(params, root.resolve()):
        _show(finding)
        if finding.state == "wrong":
            faults.append(f"{finding.what}: {finding.found}")
    for text in NOT_CHECKED:
        stdout.print(f"[dim]--[/] not checked: {text}", soft_wrap=True, highlight=False)
    if faults:
        raise ParamsError(f"{path} asks for what is not there: {'; '.join(faults)}")


def _show(finding: "Finding") -> None:
    mark = _MARKS[finding.state]
    text = escape(f"{finding.what}: {finding.found}")
    stdout.print(f"{mark} {text}", soft_wrap=True, highlight=False)
