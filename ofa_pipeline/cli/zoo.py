"""`ofa-pipeline zoo`: the reference's published networks."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ofa_pipeline.cli.evaluate import evaluate
from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.options import JsonOption
from ofa_pipeline.cli.output import stderr, stdout
from ofa_pipeline.errors import MissingArtifactError

if TYPE_CHECKING:
    from ofa_pipeline.reference.zoo import PublishedNetwork, RemoteFile

NameArgument = Annotated[str, typer.Argument(help="Name (with @ or -) or alias.")]


def add_commands(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(help="The reference's published networks.", no_args_is_help=True)
    group.command("list")(list_networks)
    group.command("show")(show)
    group.command("get")(get)
    group.command("evaluate")(evaluate)
    app.add_typer(group, name="zoo")


def list_networks(
    *,
    supernet: Annotated[str | None, typer.Option(help="Only those of this supernet.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the 58 published networks with their published figures."""
    from ofa_pipeline.reference.zoo import published_networks

    found = [n for n in published_networks() if supernet in (None, n.supernet)]
    if as_json:
        stdout.print_json(json.dumps([network_values(network) for network in found]))
        return
    table = Table(box=None, header_style="bold")
    for name in ("name", "supernet"):
        table.add_column(name, overflow="fold")
    for name in ("px", "MACs (M)", "params (M)", "top-1 (%, published)"):
        table.add_column(name, justify="right")
    for network in found:
        values = network_values(network)
        macs = values["macs"] or network.published_macs
        params = values["num_params"] or network.published_num_params
        table.add_row(
            network.name,
            network.supernet,
            str(network.resolution_px or "?"),
            f"{macs / 1e6:.1f}",
            f"{params / 1e6:.2f}",
            f"{network.published_top1:.1f}",
        )
    print_table(table, stdout)


def network_values(network: "PublishedNetwork") -> dict[str, Any]:
    """Return a network for JSON: what is published of it, and its MACs and parameters counted.

    ``macs`` and ``num_params`` are None where the architecture is only known from a download.
    """
    from ofa_pipeline.cost import arch_cost

    values = asdict(network)
    values["macs"] = values["num_params"] = None
    if network.has_arch:
        cost = arch_cost(network.space, network.arch, num_classes=network.num_classes)
        values["macs"], values["num_params"] = cost.macs, cost.num_params
    return values


def show(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Show one network: figures, architecture, files and their checksums."""
    from ofa_pipeline.reference.zoo import cached_file, published_network, read_record

    network = published_network(name)
    files = {}
    for part, file in _files(network.name).items():
        path = cached_file(file)
        files[part] = {
            "url": file.url,
            "path": str(path) if path else None,
            "sha256": read_record(path) if path else None,
        }
    values = {**network_values(network), "files": files}
    if as_json:
        stdout.print_json(json.dumps(values))
        return
    for key, value in values.items():
        if key == "files":
            continue
        stdout.print(f"{key}: {value}", highlight=False, soft_wrap=True, markup=False)
    for part, entry in files.items():
        state = f"{entry['path']} (sha256 {entry['sha256']})" if entry["path"] else "not here yet"
        line = f"{part}: {entry['url']} -> {state}"
        stdout.print(line, highlight=False, soft_wrap=True, markup=False)


def get(
    name: Annotated[str, typer.Argument(help="A published network, or the id of a supernet.")],
    *,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder with the files (or a file), instead of a download."),
    ] = None,
) -> None:
    """Download a network's files into the cache, or import local copies.

    An interrupted download goes on where it stopped. OFA_PIPELINE_CACHE names another cache.
    """
    from ofa_pipeline.cli.display import Display
    from ofa_pipeline.progress import Reporter
    from ofa_pipeline.reference.zoo import fetch_file, import_file

    with Display(stderr) as display:
        reporter = Reporter(lambda event: display.show("zoo", event))
        for part, file in _files(name).items():
            if source is None:
                path = fetch_file(file, reporter=reporter)
            else:
                path = import_file(file, _local(source, part))
            stdout.print(f"{part}: {path}", highlight=False, soft_wrap=True, markup=False)


def _files(name: str) -> "dict[str, RemoteFile]":
    from ofa_pipeline.reference.zoo import (
        SPECIALIZED_FILES,
        published_network,
        specialized_file,
        supernet_file,
    )
    from ofa_pipeline.spaces import REFERENCE_SPACES

    if name in REFERENCE_SPACES:
        return {name: supernet_file(name)}
    network = published_network(name)
    return {part: specialized_file(network.name, part) for part in SPECIALIZED_FILES}


def _local(source: Path, part: str) -> Path:
    path = source / part if source.is_dir() else source
    if not path.is_file():
        raise MissingArtifactError(f"{path} is missing: --from needs a folder that holds {part}")
    return path
