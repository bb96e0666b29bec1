"""The application: its options, its commands, and the one place that turns errors into lines."""

import atexit
import gc
import importlib.metadata
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ofa_pipeline.cli import (
    certificate,
    checkpoints,
    device,
    doctor,
    evaluate,
    lineage,
    lookups,
    params,
    pipeline,
    platform,
    predict,
    promote,
    pull,
    recertify,
    search,
    serve_registry,
    sign,
    subnets,
    verify,
    zoo,
)
from ofa_pipeline.cli.environment import settle_environment
from ofa_pipeline.cli.options import DebugOption
from ofa_pipeline.cli.output import report_error
from ofa_pipeline.exit_codes import EXIT_CODES_HELP, EXIT_TERMINATED, exit_code_of
from ofa_pipeline.masking import mask_logs


class _Group(TyperGroup):
    """Says what to do after Ctrl-C or SIGTERM, which typer would pass over in silence."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the types are not public
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code != EXIT_TERMINATED:
                raise
            report_error(error, debug="--debug" in sys.argv)
            raise typer.Exit(exit_code_of(error)) from error


app = typer.Typer(
    name="ofa-pipeline",
    cls=_Group,
    help="Train one once-for-all network, then hand every device its own subnet.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for group in (
    *(pipeline, subnets, lookups, certificate, lineage, promote, sign, serve_registry, platform),
    *(pull, recertify, predict, search, evaluate, zoo, checkpoints, params, device, doctor, verify),
):
    group.add_commands(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ofa-pipeline {importlib.metadata.version('ofa-pipeline')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Train one once-for-all network, then hand every device its own subnet."""


def _leave_garbage() -> None:
    """Spare Python its look for garbage at the end, among all that was imported.

    With MLflow that is half a second. What must be closed is closed by then; nothing of ours relies
    on that look. Triton does, which training imports: it reports what is left as leaks.
    """
    if "triton" not in sys.modules:
        gc.freeze()


def main() -> None:
    """Run the command line; the process ends with one of the documented exit codes."""
    mask_logs()
    atexit.register(_leave_garbage)
    # Wherever --debug stands, it means the whole program.
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        settle_environment(os.environ)
        app(arguments)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the boundary to the user
        report_error(error, debug="--debug" in sys.argv)
        sys.exit(exit_code_of(error))
