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
