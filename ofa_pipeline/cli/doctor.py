"""`ofa-pipeline doctor`: what is installed, what works here, and how to get what is missing."""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.options import WorkspaceOption
from ofa_pipeline.cli.output import stdout
from ofa_pipeline.cores import usable_cores
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.exit_codes import EXIT_ERROR
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.workspace import check_dvc_files, check_version_control, is_under_git

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

_PACKAGES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "optuna",
    "mlflow",
    "prefect",
    "fastapi",
    "dvc",
)
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the doctor."""

    what: str
    found: str
    is_good: bool = True
    advice: str = ""


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor")(doctor)


def doctor(*, workspace: WorkspaceOption = Path()) -> None:
    """Say what is installed, which runtimes and devices work here, and how to get the rest.

    The exit code is 1 when something that the workspace needs is missing.
    """
    findings = [*_machine(workspace), *_packages(), *_runtimes(), *_workspace(workspace)]
    table = Table(show_header=False, box=None, pad_edge=False)
    for column in ("", "what", "found", "advice"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.is_good else "[yellow]--[/]"
        table.add_row(mark, finding.what, finding.found, finding.advice)
    print_table(table, stdout)
    if not all(finding.is_good for finding in findings if finding.what.startswith("workspace")):
        raise typer.Exit(EXIT_ERROR)


def _machine(workspace: Path) -> Iterator[Fact]:
    import psutil

    memory = psutil.virtual_memory()
    cores = usable_cores()
    yield Fact("Python", platform.python_version())
    yield Fact(
        "machine",
        f"{cores} usable cores, {memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB "
        f"memory free, {shutil.disk_usage(workspace).free / _GIB:.1f} GiB disk free",
    )
    git = shutil.which("git")
    yield Fact(
        "git",
        git or "not found",
        bool(git),
        "" if git else "only `dvc exp` and `dvc diff` need it",
    )


def _packages() -> Iterator[Fact]:
    for name in _PACKAGES:
        try:
            yield Fact(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Fact(name, "not installed", is_good=False, advice="make setup")


def _runtimes() -> Iterator[Fact]:
    from ofa_pipeline.devices import probe_runtimes

    for probe in probe_runtimes():
        found = probe.version or "not installed"
        yield Fact(
            f"runtime {probe.name}",
            found if probe.is_available else f"{found}, not usable here",
            probe.is_available,
            probe.how_to_get,
        )


def _workspace(workspace: Path) -> Iterator[Fact]:
    from ofa_pipeline.params import load_params
    from ofa_pipeline.preflight import look

    path = workspace / "params.yaml"
    try:
        params = load_params(path)
    except OfaPipelineError as error:
        yield Fact("workspace params", str(error), is_good=False)
        return
    yield Fact("workspace params", str(path))
    yield _finding("workspace DVC", partial(_dvc_files, workspace))
    yield _finding("workspace git", partial(_git, workspace))
    for found in look(params, workspace.resolve()):
        if found.what != "registry":  # asked in full below
            is_good = found.state != "wrong"
            yield Fact(
                f"workspace {found.what if found.what != 'workspace' else 'disk'}",
                found.found,
                is_good,
            )
    yield _finding("workspace registry", partial(_registry, workspace, params))


def _finding(what: str, look: Callable[[], str]) -> Fact:
    try:
        return Fact(what, look())
    except OfaPipelineError as error:
        return Fact(what, mask_secrets(str(error)), is_good=False)


def _dvc_files(workspace: Path) -> str:
    check_dvc_files(workspace)
    return "its stages, settings and the code that they run"


def _git(workspace: Path) -> str:
    check_version_control(workspace)
    return "yes" if is_under_git(workspace) else "no, which works too"


def _registry(workspace: Path, params: "Params") -> str:
    from ofa_pipeline.registry import open_registry

    registry = open_registry(workspace, experiment=params.registry.experiment)
    registry.check()
    return mask_secrets(registry.tracking_uri)
