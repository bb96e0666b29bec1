"""`ofa-pipeline platform`: the servers that a team shares."""

from pathlib import Path
from typing import Annotated

import typer

from ofa_pipeline.cli.programs import become

_Port = Annotated[int, typer.Option(min=1, max=65535)]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        help="Start the servers of a team, or prepare a Prefect server.", no_args_is_help=True
    )
    group.command("start")(start)
    group.command("init")(init)
    app.add_typer(group, name="platform")


def start(
    *,
    folder: Annotated[
        Path, typer.Option("--folder", help="For logs, and what has no other place.")
    ] = Path("platform"),
    prefect_port: _Port = 4200,
    mlflow_port: _Port = 5000,
    registry_port: _Port = 8100,
) -> None:
    """Run Prefect's server, MLflow's and the registry service on this machine, until Ctrl-C.

    Everything is kept in the folder, but for what OFA_PIPELINE_MLFLOW_DATABASE and
    OFA_PIPELINE_PREFECT_DATABASE (postgresql://USER:PASSWORD@HOST/NAME, one database each) and
    OFA_PIPELINE_ARTIFACTS (s3://BUCKET/FOLDER) name.
    """
    ports = {"prefect": prefect_port, "mlflow": mlflow_port, "registry": registry_port}
    words = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    become("flows.platform", "start", "--folder", str(folder), *words)


def init() -> None:
    """Prepare the Prefect server of PREFECT_API_URL for our flows.

    Runs that stop to report are marked as crashed, and the work pool of prefect.yaml is made.
    """
    become("flows.platform", "init")
