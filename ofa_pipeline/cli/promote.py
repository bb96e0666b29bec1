"""`ofa-pipeline promote`: make a version the candidate or the champion of its device."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ofa_pipeline.cli.options import JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stdout
from ofa_pipeline.exit_codes import EXIT_ERROR

if TYPE_CHECKING:
    from ofa_pipeline.documents.answers import PromotionAnswer
    from ofa_pipeline.registry import Promotion


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("promote")(promote)


def promote(
    version: Annotated[str, typer.Argument(metavar="models:/NAME/VERSION")],
    *,
    to: Annotated[Literal["candidate", "champion"], typer.Option("--to")] = "candidate",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Make a version the candidate or the champion of its registered model, if it may be.

    A candidate has intact files, a valid certificate, and a median within its budgets. A champion
    was the candidate, and is better than the present champion beyond the noise. The exit code is 1
    when a condition is not met.
    """
    from ofa_pipeline.registry import open_registry, plan_promotion
    from ofa_pipeline.registry import promote as move

    registry = open_registry(workspace)
    plan = plan_promotion(registry, registry.version(version), to)
    if plan.is_allowed and not dry_run:
        move(registry, plan)
    if as_json:
        typer.echo(
            json.dumps(_answer(plan, is_done=plan.is_allowed and not dry_run).to_dict(), indent=2)
        )
    else:
        _show(plan, dry_run=dry_run)
    if not plan.is_allowed:
        raise typer.Exit(EXIT_ERROR)


def _answer(plan: "Promotion", *, is_done: bool) -> "PromotionAnswer":
    from ofa_pipeline.documents.answers import PromotionAnswer, PromotionCheck

    return PromotionAnswer(
        model_uri=plan.subnet.model_uri,
        alias=plan.rank,
        before=None if plan.before is None else plan.before.model_uri,
        is_allowed=plan.is_allowed,
        is_done=is_done,
        checks=tuple(
            PromotionCheck(name=check.name, is_met=check.is_met, reason=check.reason)
            for check in plan.checks
        ),
    )


def _show(plan: "Promotion", *, dry_run: bool) -> None:
    for check in plan.checks:
        stdout.print(f"{'yes' if check.is_met else 'NO '} {check.name}: {check.reason}", **PLAIN)
    name, number = plan.subnet.record.model_name, plan.subnet.version
    if not plan.is_allowed:
        stdout.print(f"v{number} of {name} does not become the {plan.rank}", **PLAIN)
        return
    was = "nothing" if plan.before is None else f"v{plan.before.version}"
    if plan.before == plan.subnet:
        stdout.print(f"v{number} of {name} is the {plan.rank} already", **PLAIN)
        return
    verb = "would become" if dry_run else "is now"
    stdout.print(f"v{number} of {name} {verb} the {plan.rank}; before: {was}", **PLAIN)
    stdout.print(f"load it with: mlflow.pyfunc.load_model('models:/{name}@{plan.rank}')", **PLAIN)
