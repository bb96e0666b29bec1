"""`ofa-pipeline serve-registry`: the registry over HTTP, to read only."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ofa_pipeline.cli.options import WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stdout

TOKEN_VARIABLE = "OFA_PIPELINE_SERVICE_TOKEN"  # noqa: S105 - the name of a variable


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("serve-registry")(serve_registry)


def serve_registry(
    *,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; beyond this machine with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8100,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="Another name that it may be called by."),
    ] = None,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Serve the registry over HTTP: look-ups, downloads, pages. Read-only; until Ctrl-C.

    With OFA_PIPELINE_SERVICE_TOKEN set, requests have to show that token.
    """
    from ofa_pipeline.registry import open_registry
    from ofa_pipeline.service import ServiceSettings, serve

    settings = ServiceSettings(
        host=host,
        port=port,
        token=os.environ.get(TOKEN_VARIABLE, "").strip(),
        allow_hosts=tuple(allow_host or ()),
    )
    registry = open_registry(workspace)
    registry.check()
    shown = f"[{host}]" if ":" in host else host
    stdout.print(f"the registry: http://{shown}:{port} (interface: /docs); Ctrl-C ends it", **PLAIN)
    serve(registry, settings)
