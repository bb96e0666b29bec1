"""`ofa-pipeline verify`: read every artifact again and compare it with its manifest."""

from pathlib import Path

import typer
from rich.markup import escape

from ofa_pipeline.cli.options import WorkspaceOption
from ofa_pipeline.cli.output import stderr, stdout
from ofa_pipeline.exit_codes import EXIT_ERROR

_MEGABYTE = 10**6


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("verify")(verify)


def verify(*, workspace: WorkspaceOption = Path()) -> None:
    """Read every file of every artifact again: is each what was written?

    Stages check what they read too, but a file that they know they do not read twice. The exit
    code is 1 when something is damaged.
    """
    from ofa_pipeline.integrity import verify_workspace

    num_bad = num_found = 0
    for found in verify_workspace(workspace.resolve()):
        num_found += 1
        if found.fault:
            num_bad += 1
            stdout.print(f"[bold red]damaged[/] {escape(found.name)}", highlight=False)
            stdout.print(f"  {escape(found.fault)}", highlight=False, soft_wrap=True)
        else:
            size = f"{found.num_files:,} files, {found.num_bytes / _MEGABYTE:,.1f} MB"
            stdout.print(f"ok {escape(found.name)}: {size}", highlight=False, soft_wrap=True)
    if not num_found:
        stdout.print(f"{workspace} holds no artifacts yet: ofa-pipeline run", soft_wrap=True)
    if num_bad:
        stderr.print(
            f"[bold red]error:[/] {num_bad} of {num_found} artifacts are not as they were written",
            highlight=False,
        )
        raise typer.Exit(EXIT_ERROR)
