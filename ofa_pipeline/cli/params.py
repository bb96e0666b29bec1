"""`ofa-pipeline params`: look at params.yaml."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_pipeline.cli.options import WorkspaceOption
from ofa_pipeline.cli.output import stdout

if TYPE_CHECKING:
    from ofa_pipeline.params import Params


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
    """Check params.yaml: names, types, ranges, and what must fit together."""
    from ofa_pipeline.params import load_params

    path = file or workspace / "params.yaml"
    params = load_params(path)
    stdout.print(f"{path} is right: {_summary(params)}.", soft_wrap=True, highlight=False)


def _summary(params: "Params") -> str:
    space = params.space.build()
    return (
        f"{params.dataset.source} (called {params.dataset.label}), "
        f"a space of {space.num_archs:.3g} architectures, "
        f"{len(params.phases)} training phases, devices {', '.join(params.devices)}"
    )
