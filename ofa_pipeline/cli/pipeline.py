"""`ofa-pipeline run`, `plan`, `serve`, `stage` and `init`: make the artifacts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.display import Display
from ofa_pipeline.cli.hints import command
from ofa_pipeline.cli.notices import notices_to
from ofa_pipeline.cli.options import WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, describe_error, stderr, stdout
from ofa_pipeline.cli.programs import become
from ofa_pipeline.cli.proposing import propose_params
from ofa_pipeline.dataset_summary import read_summary
from ofa_pipeline.exit_codes import exit_code_of, exit_on_sigterm
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages import STAGES, StageContext, check_item, find_stage, run_stage
from ofa_pipeline.stages.events import StageEvent, is_followed, reporting_to_flow
from ofa_pipeline.workspace import choose_version_control, create_workspace, hold_stage


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("run")(run)
    app.command("plan")(plan)
    app.command("serve")(serve)
    app.command("stage")(stage)
    app.command("init")(init)


def run(
    *,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "-d",
            help="Only search and specialise for this device (repeatable); never trains.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Go on by itself when what is awaited of devices elsewhere is imported."
        ),
    ] = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Run the whole pipeline: train once, then search, specialise and register per device.

    What is up to date is skipped; what was interrupted goes on where it stopped. Where devices
    elsewhere have to be measured first, it ends with exit code 5, or waits.
    """
    words = [word for name in device or () for word in ("--device", name)]
    words += ["--wait"] if wait else []
    become("flows.run", "--workspace", str(workspace), *words)


def plan(
    *,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Measure nothing: recorded times, rules of thumb.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Say which stages would run, for how long on this machine, and what they need.

    What is up to date is DVC's judgement, as of `run`. Times are those that an earlier run of the
    workspace recorded, or measured now, in about a minute: some real training steps, evaluations
    and latencies.
    """
    words = [*(["--estimate"] if estimate else []), *(["--json"] if as_json else [])]
    become("flows.plan", "--workspace", str(workspace), *words)


def serve(
    *,
    port: Annotated[int | None, typer.Option(help="Of the page with runs and logs.")] = None,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Run the pipeline on the schedule of params.yaml, and add devices on demand."""
    words = [] if port is None else ["--port", str(port)]
    become("flows.serve", "--workspace", str(workspace), *words)


def stage(
    name: Annotated[
        str, typer.Argument(help=f"One of: {', '.join(stage.name for stage in STAGES)}.")
    ],
    *,
    item: Annotated[
        str | None, typer.Option("--item", "-i", help="The phase or device, where it has them.")
    ] = None,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Run one stage, up to date or not; `dvc repro` and `run` call this for what is not."""
    from ofa_pipeline.graph import graph_warning
    from ofa_pipeline.memory import keep_freed_memory
    from ofa_pipeline.params import load_params
    from ofa_pipeline.parent import end_with_runner

    root = workspace.resolve()
    address = name if item is None else f"{name}@{item}"
    params = load_params(root / "params.yaml")
    row = find_stage(name)
    check_item(row, item, params)
    exit_on_sigterm()
    end_with_runner()
    if row.keeps_memory:
        keep_freed_memory()
    if not is_followed() and (warning := graph_warning(root)):
        stderr.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True, highlight=False)
    os.chdir(root)  # relative paths in params.yaml are meant from there
    with hold_stage(root, address=address), _reporter(address) as reporter:
        context = StageContext(layout=Layout(root), params=params, item=item, reporter=reporter)
        with notices_to(reporter.warning):
            artifact = run_stage(name, context)
    if not is_followed() and (summary := read_summary(artifact)):  # else the flow shows it
        Display(stderr).summarize(summary)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder; made when it is not there.")] = Path(),
    *,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Of presets/: transfer, mobilenet-v3-w1.0, sandwich-alpha, compound, ..."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="image_folder:PATH, parquet:PATH or torchvision:NAME: looks at images and "
            "machine, and proposes params that suit both."
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Bring dvc.yaml up to this version; the former is kept."),
    ] = False,
) -> None:
    """Make a folder a workspace: its own params.yaml, artifacts and registry.

    With --source the images are looked at, and params.yaml says what was chosen and why. A
    relative PATH is meant from here.

    A preset is the params of one of the reference's supernets on ImageNet, or of another recipe for
    one (sandwich-alpha, compound), of photos that start from published weights (transfer), or
    progressive shrinking on small images. A workspace of an earlier version is brought up to date
    with --update; its params.yaml is left alone.
    """
    params = None if source is None else propose_params(folder, source, preset=preset)
    for path in create_workspace(folder, preset=preset, params=params):
        stdout.print(f"wrote {path}", **PLAIN)
    if update:
        _update(folder)
    choose_version_control(folder)
    first = f"edit {folder / 'params.yaml'}"
    if source is not None:
        first = f"read {folder / 'params.yaml'}, {command('plan', '--workspace', folder)}"
    stdout.print(
        f"{folder} is a workspace. Next: {first}, then {command('run', '--workspace', folder)}",
        **PLAIN,
    )


def _update(folder: Path) -> None:
    from ofa_pipeline.graph import GRAPH_NAME, own_stages, update_graph

    kept = update_graph(folder)
    if kept is None:
        stdout.print(f"{folder / GRAPH_NAME} is up to date", **PLAIN)
        return
    stdout.print(
        f"wrote {folder / GRAPH_NAME}; the former one is {kept}", highlight=False, soft_wrap=True
    )
    if own := own_stages(kept):
        stdout.print(
            f"It had stages of its own: {', '.join(own)}. Copy them from {kept}.",
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def _reporter(address: str) -> Iterator[Reporter]:
    """Report to the flow that runs us, else to whoever sits here."""
    if is_followed():
        with reporting_to_flow(failed=_failure) as reporter:
            yield reporter
        return
    with Display(stderr) as display:
        yield Reporter(lambda event: display.show(address, event))


def _failure(error: BaseException) -> StageEvent:
    return StageEvent(kind="failed", error=describe_error(error), exit_code=exit_code_of(error))
