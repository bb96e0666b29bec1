"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace", "-w", help="Folder with params.yaml and artifacts/.", show_default="here"
    ),
]

DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show the traceback of an error; goes with every command.",
        show_default=False,
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME|DIGEST|any",
        help="A dataset by its name or how its digest begins, or any.",
        show_default="the workspace's",
    ),
]
