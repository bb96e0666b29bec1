"""`ofa-pipeline device`: the devices of params.yaml, added, looked at and taken out."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ofa_pipeline.artifacts import Layout, write_bytes
from ofa_pipeline.cli.display import Display
from ofa_pipeline.cli.environment import settle_for_a_look
from ofa_pipeline.cli.hints import command
from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.options import WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.cli.programs import become
from ofa_pipeline.errors import DeviceError, ParamsError
from ofa_pipeline.progress import Reporter

DEFAULT_FRACTIONS = (0.2, 0.5, 0.8)

RuntimeOptions = Annotated[
    list[str] | None,
    typer.Option(
        help="Of the runtime, such as allow_spinning=false; any number.", metavar="NAME=VALUE"
    ),
]
NameArgument = Annotated[str, typer.Argument(help="Name of the device.", metavar="DEVICE")]


def add_commands(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(help="The devices of params.yaml.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(list_)
    group.command("check")(check)
    group.command("profile")(profile)
    group.command("remove")(remove)
    group.command("export")(export)
    group.command("import")(import_)
    app.add_typer(group, name="device")


def add(  # noqa: PLR0913 - options of a command
    name: NameArgument,
    *,
    runtime: Annotated[str, typer.Option(help="What runs the networks; see: doctor.")],
    accelerator: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[str, typer.Option(help="Such as fp32.")] = "fp32",
    threads: Annotated[int, typer.Option(help="CPU threads of a call.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Images a call.")] = 1,
    pinning: Annotated[
        str | None,
        typer.Option(
            help="Cores that measurements may use, such as 2,3.", show_default="the idlest"
        ),
    ] = None,
    option: RuntimeOptions = None,
    location: Annotated[
        str | None,
        typer.Option(
            help="ssh://USER@HOST:PORT, ray://RESOURCE of a cluster's node, or away: a folder is "
            "carried there and back.",
            show_default="this machine",
        ),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help="What measures over ssh or on a node.", show_default="python3"),
    ] = None,
    budgets_ms: Annotated[
        str | None, typer.Option(help="Milliseconds a call, ascending, such as 0.4,0.8.")
    ] = None,
    budget_fractions: Annotated[
        str | None,
        typer.Option(
            help="Parts of the way from the fastest to the largest subnet.",
            show_default=",".join(f"{part:g}" for part in DEFAULT_FRACTIONS),
        ),
    ] = None,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Add a device to params.yaml, whose comments and order stay.

    What the machine cannot serve is refused, and nothing is written.
    """
    settle_for_a_look(os.environ)
    card = {
        "runtime": runtime,
        "accelerator": accelerator,
        "precision": precision,
        "threads": threads,
        "batch_size": batch_size,
        **({} if pinning is None else {"pinning": _cores(pinning)}),
        **({} if not option else {"options": _options(option)}),
        **{k: v for k, v in {"location": location, "python": python}.items() if v is not None},
    }
    device = {"card": card, **_budgets(budgets_ms, budget_fractions)}
    for line in _write_device(workspace / "params.yaml", name, device):
        stdout.print(line, **PLAIN)


def export(
    name: NameArgument,
    *,
    to: Annotated[Path, typer.Option(help="The folder, new or empty.", metavar="FOLDER")],
    again: Annotated[
        bool, typer.Option("--again", help="What its profile is made of, once more.")
    ] = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Write a folder with what is to be measured on a device elsewhere, and a script for it.

    The script needs Python 3.9, numpy and the runtime. At first the networks of the latency model
    are measured, later candidates of the search, and the files that ship.
    """
    from ofa_pipeline.cli.carrying import export_folder

    with Display(stderr) as display:
        reporter = Reporter(lambda event: display.show("export", event))
        for line in export_folder(workspace, name, to, is_again=again, reporter=reporter):
            stdout.print(line, **PLAIN)


def import_(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(help="What the script wrote.", metavar="FILE")],
    *,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Check what was measured on a device elsewhere, and keep it.

    A run that waits for it goes on, if there is one; otherwise `run` does.
    """
    from ofa_pipeline.cli.carrying import import_result, is_waited_for

    waits = is_waited_for(workspace, name)
    for line in import_result(workspace, name, file):
        stdout.print(line, **PLAIN)
    if waits:
        become("flows.resume", "--workspace", str(workspace))
    stdout.print(f"Next: {command('run', '--device', name)}", **PLAIN)


def remove(name: NameArgument, *, workspace: WorkspaceOption = Path()) -> None:
    """Take a device out of params.yaml; its artifacts and registered subnets stay."""
    settle_for_a_look(os.environ)
    from ofa_pipeline.params import remove_device

    path = workspace / "params.yaml"
    text = remove_device(_read(path), name, origin=str(path))
    write_bytes(path, text.encode())
    stdout.print(f"{path}: removed {name}", **PLAIN)
    layout = Layout(workspace)
    made = (
        layout.latency(name),
        layout.search(name),
        layout.subnets(name),
        layout.registry(name),
        layout.measured(name),
    )
    if kept := [str(folder) for folder in made if folder.exists()]:
        stdout.print(f"What was made for it stays: {', '.join(kept)}", **PLAIN)


def list_(*, workspace: WorkspaceOption = Path()) -> None:
    """List the devices: what each is, and whether its profile is that of this machine as it is."""
    settle_for_a_look(os.environ)
    from ofa_pipeline.cli.checking import profile_state
    from ofa_pipeline.params import load_params

    params = load_params(workspace / "params.yaml")
    table = Table(box=None, pad_edge=False)
    for column in ("device", "runtime", "precision", "threads", "batch", "budgets", "profile"):
        table.add_column(column, overflow="fold")
    for name, device in params.devices.items():
        card, budgets = device.card, device.budgets_ms or device.budget_fractions or ()
        unit = "ms" if device.budgets_ms else "of the way"
        table.add_row(
            name,
            f"{card.runtime} {card.accelerator}",
            card.precision,
            str(card.threads),
            str(card.batch_size),
            f"{', '.join(f'{budget:g}' for budget in budgets)} {unit}",
            escape(profile_state(params, name, workspace)),
        )
    print_table(table, stdout)


def check(name: NameArgument, *, workspace: WorkspaceOption = Path()) -> None:
    """Say what a device lacks, and how noisy the machine is to measure on, in some seconds.

    A host over ssh and a node of a cluster are measured where they are, and keep nothing of it; of
    a device to which folders are carried it is said what came back. The exit code is 1 when it
    cannot be measured on, or the figures would be rough, and 5 when somebody has to go there first.
    """
    from ofa_pipeline.cli.checking import check_device
    from ofa_pipeline.params import load_params

    raise typer.Exit(check_device(load_params(workspace / "params.yaml"), name, workspace))


def profile(
    name: NameArgument,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Though it is up to date: when the machine is quieter.")
    ] = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Measure some dozens of subnets on a device, fit its latency model, and say how good it is.

    Nothing is trained or searched; `run --device` goes on from it.
    """
    from ofa_pipeline.params import load_params

    settle_for_a_look(os.environ)
    location = load_params(workspace / "params.yaml").device(name).card.location
    if again and location == "away":
        raise DeviceError(
            f"{name} is measured where it is; to measure it once more: "
            f"{command('device', 'export', name, '--to', 'FOLDER', '--again')}"
        )
    words = ["--again"] if again else []
    become("flows.run", "--workspace", str(workspace), "--device", name, "--profile", *words)


def _write_device(path: Path, name: str, device: dict[str, Any]) -> Iterator[str]:
    """Check a device and write it to params.yaml; yield lines for people."""
    from ofa_pipeline.devices import check_options, describe_device
    from ofa_pipeline.params import add_device, load_params, parse_params
    from ofa_pipeline.yaml_reader import parse_yaml

    load_params(path)  # what is wrong with the file as it is has nothing to do with the device
    text = add_device(_read(path), name, device, origin=str(path))
    params = parse_params(parse_yaml(text, origin=str(path)), origin=str(path))
    settings = params.device(name).card
    check_options(settings)
    what = f"{settings.runtime} elsewhere ({settings.location})"
    next_ones = [command("run", "--device", name)]
    if settings.location is None:
        found = describe_device(settings)
        what = f"{found.runtime} {found.runtime_version}"
        next_ones.insert(0, command("device", "check", name))
    elif settings.location == "away":
        next_ones.insert(0, command("device", "export", name, "--to", "FOLDER"))
    else:
        next_ones.insert(0, command("device", "check", name))
    write_bytes(path, text.encode())
    yield f"{path}: added {name}, {what}"
    yield f"Next: {', then '.join(next_ones)}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise ParamsError(
            f"{path} is missing. Run in the project's folder, or name it with --workspace."
        ) from error


def _budgets(budgets_ms: str | None, fractions: str | None) -> dict[str, Any]:
    if budgets_ms is not None and fractions is not None:
        raise ParamsError("give --budgets-ms or --budget-fractions, not both")
    if budgets_ms is not None:
        return {"budgets_ms": _numbers(budgets_ms, "--budgets-ms")}
    given = DEFAULT_FRACTIONS if fractions is None else _numbers(fractions, "--budget-fractions")
    return {"budget_fractions": list(given)}


def _cores(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ParamsError(
            f"--pinning must be numbers of cores with commas between them, such as 2,3, got "
            f"{text!r}"
        ) from error


def _options(texts: list[str]) -> dict[str, bool | str]:
    words: dict[str, bool | str] = {"true": True, "false": False}
    found: dict[str, bool | str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ParamsError(
                f"--option must be NAME=VALUE, such as allow_spinning=false, got {text!r}"
            )
        if name in found:
            raise ParamsError(f"--option {name} is given twice. Leave one out.")
        found[name] = words.get(value, value)
    return found


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise ParamsError(
            f"{option} must be numbers with commas between them, such as 0.4,0.8, got {text!r}"
        ) from error
