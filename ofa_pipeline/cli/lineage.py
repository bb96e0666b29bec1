"""`ofa-pipeline lineage` and `reproduce`: what a subnet was made from, and making it again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.options import JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.cli.programs import become
from ofa_pipeline.temporary import temporary_folder

if TYPE_CHECKING:
    from ofa_pipeline.documents.lineage import LineageAnswer, LineageOrigin

_VersionArgument = Annotated[str, typer.Argument(metavar="models:/NAME/VERSION")]
_SHOWN_DIGITS = 12
_SHOWN_CHANGES = 5


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("lineage")(lineage)
    app.command("reproduce")(reproduce)


def lineage(
    version: _VersionArgument, *, as_json: JsonOption = False, workspace: WorkspaceOption = Path()
) -> None:
    """Show what a subnet was made from: every link from its files back to the data.

    Its files are fetched and compared with their digests first.
    """
    from ofa_pipeline.registry import open_registry
    from ofa_pipeline.registry.lineage import read_lineage

    registry = open_registry(workspace)
    with temporary_folder("lineage") as folder:
        found = read_lineage(registry, registry.version(version), folder)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
        return
    _show(found)


def reproduce(
    version: _VersionArgument,
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Where to clone to; must not be there.", show_default="NAME-vVERSION-again"
        ),
    ] = None,
    *,
    repository: Annotated[
        str | None,
        typer.Option(
            help="Path or address of the git repository; its code runs.",
            show_default="the workspace's",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Make nothing again: compare what the remote keeps.")
    ] = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Make a subnet again from its data, in a fresh clone, and say which digests are the same.

    The clone is of the commit that was recorded when the subnet was registered, with the dvc.lock
    of that time; the artifacts come from the DVC remote. Each stage is given what was recorded, so
    one that differs does not change the next. What measures time is not made again. The exit code
    is 1 when a digest that can be the same differs.
    """
    words = [version, "--workspace", str(workspace)]
    words += [] if folder is None else ["--folder", str(folder)]
    words += [] if repository is None else ["--repository", repository]
    words += [*(["--check"] if check else []), *(["--json"] if as_json else [])]
    become("flows.reproduce", *words)


def _show(found: "LineageAnswer") -> None:
    table = Table(title=f"Lineage of {found.model_uri}", title_justify="left")
    for name in ("what", "stage", "digest", "note"):
        table.add_column(name, overflow="fold")
    for step in found.steps:
        digest = step.digest[:_SHOWN_DIGITS] or "not recorded"
        table.add_row(step.what, step.stage, digest, step.note)
    print_table(table, stdout)
    for name, digest in found.files.items():
        stdout.print(f"SHA-256 {digest}  {name}", **PLAIN)
    origin = found.origin
    stdout.print(_commit_text(origin), **PLAIN)
    made = [text for text in (origin.command, origin.user and f"by {origin.user}") if text]
    if made:
        version = origin.package_version and f", ofa-pipeline {origin.package_version}"
        stdout.print(f"registered {' '.join(made)}{version} (run {origin.run_id})", **PLAIN)
    stdout.print(f"{len(found.params)} params of the last stage: --json shows them", **PLAIN)
    if not origin.has_lock:
        stderr.print("dvc.lock was not kept with it, so it cannot be reproduced", **PLAIN)


def _commit_text(origin: "LineageOrigin") -> str:
    if not origin.commit:
        return "commit: none was recorded"
    where = f" of {origin.repository}" if origin.repository else ""
    branch = f" ({origin.branch})" if origin.branch else ""
    if origin.changes is None:
        state = "; whether files differed from it was not recorded"
    elif origin.changes:
        names = ", ".join(origin.changes[:_SHOWN_CHANGES])
        more = len(origin.changes) - _SHOWN_CHANGES
        state = f"; these files differed from it: {names}{f' and {more} more' if more > 0 else ''}"
    else:
        state = "; no file differed from it"
    return f"commit: {origin.commit}{branch}{where}{state}"
