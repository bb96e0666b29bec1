"""`ofa-pipeline import-checkpoint` and `export-checkpoint`: the reference's weight files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_pipeline.cli.output import stdout
from ofa_pipeline.errors import CheckpointError, ParamsError

if TYPE_CHECKING:
    from ofa_pipeline.supernet import Subnet, Supernet


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("import-checkpoint")(import_checkpoint)
    app.command("export-checkpoint")(export_checkpoint)


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A weight file of the reference.")],
    *,
    supernet: Annotated[
        str | None,
        typer.Option(help="Id of the supernet, or name of the published network."),
    ] = None,
    net_config: Annotated[
        Path | None, typer.Option(help="net.config of a static network, instead of --supernet.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.", show_default="FILE.safetensors"),
    ] = None,
) -> None:
    """Read a weight file of the reference and write it in our format.

    It reads supernet files and training checkpoints in both spellings, the weights of the
    largest static network (into a supernet), and static networks and `init` files. Every entry
    must fit: what is missing, unexpected or misshapen is listed.
    """
    from ofa_pipeline.supernet import Supernet, save_subnet, save_supernet

    target = output or file.with_name(f"{file.name}.safetensors")
    if target.suffix != ".safetensors":
        raise ParamsError(f"--output must end in .safetensors, got {target}")
    if (supernet is None) == (net_config is None):
        raise ParamsError("give --supernet or --net-config, one of them")
    network = _read(file, supernet, net_config)
    if isinstance(network, Supernet):
        save_supernet(network, target)
    else:
        save_subnet(network, target)
    stdout.print(
        f"{file}: {network.space.space_id}, {network.num_classes} classes, written to {target}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def export_checkpoint(
    file: Annotated[Path, typer.Argument(help="A supernet or subnet file of ours.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="FILE.pth")
    ] = None,
) -> None:
    """Write a supernet or subnet as the reference writes it: its names, under `state_dict`."""
    from ofa_pipeline.artifacts import verify_file
    from ofa_pipeline.reference.checkpoints import write_reference_checkpoint
    from ofa_pipeline.supernet import load_subnet, load_supernet

    if file.is_file():
        verify_file(file)
    target = output or file.with_suffix(".pth")
    network: Supernet | Subnet
    try:
        network = load_supernet(file)
    except CheckpointError as not_supernet:
        try:
            network = load_subnet(file)
        except CheckpointError:
            raise not_supernet from None
    write_reference_checkpoint(network, target)
    stdout.print(
        f"{file}: {network.space.space_id}, {network.num_classes} classes, written to {target}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _read(file: Path, name: str | None, net_config: Path | None) -> "Supernet | Subnet":
    from ofa_pipeline.reference.checkpoints import (
        import_reference_supernet,
        read_reference_checkpoint,
    )
    from ofa_pipeline.reference.zoo import load_spec, read_net_config
    from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space
    from ofa_pipeline.supernet import build_subnet

    if name in REFERENCE_SPACES:
        return import_reference_supernet(file, reference_space(str(name)))
    if net_config is None:
        spec, _ = load_spec(str(name))
    else:
        try:
            spec = read_net_config(json.loads(net_config.read_text()))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{net_config} is not JSON: {error}") from error
    subnet = build_subnet(spec.space, spec.arch, num_classes=spec.num_classes, dropout=spec.dropout)
    read_reference_checkpoint(subnet, file)
    return subnet
