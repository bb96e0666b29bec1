"""`ofa-pipeline pull`: a registered subnet into a folder, checked and whole."""

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.chosen import (
    VERSION_PREFIX,
    MaxLatencyOption,
    MaxSizeOption,
    MinAccuracyOption,
    QuantileOption,
    VerdictOption,
    bounds_of,
    choose_subnet,
    default_folder,
    describe_subnet,
)
from ofa_pipeline.cli.hints import command
from ofa_pipeline.cli.options import DatasetOption, JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stdout
from ofa_pipeline.cli.sign import TrustOption, warn_of_doubts
from ofa_pipeline.errors import ParamsError, RegistryError
from ofa_pipeline.temporary import temporary_folder

if TYPE_CHECKING:
    from ofa_pipeline.documents.answers import PullAnswer
    from ofa_pipeline.registry import RegisteredSubnet, SubnetRegistry

Format = Literal["bundle", "onnx", "weights"]
DOCUMENTS = (Layout.SUBNET, Layout.CARD)
"""They go with every format: without them nobody knows the classes and the normalization."""
FILES: dict[Format, tuple[str, ...]] = {
    "onnx": ("model.onnx", *DOCUMENTS),
    "weights": (Layout.WEIGHTS, *DOCUMENTS),
}


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("pull")(pull)


def pull(  # noqa: PLR0913 - options of a command
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[models:/NAME/VERSION] [FOLDER]",
            help="A version, or --device for the best one; and the new folder, by default "
            "NAME-vVERSION here.",
            show_default=False,
        ),
    ] = None,
    *,
    device: Annotated[
        str | None, typer.Option("--device", "-d", help="Name of a device: its best subnet.")
    ] = None,
    max_latency_ms: MaxLatencyOption = None,
    quantile: QuantileOption = "p50",
    verdict: VerdictOption = None,
    min_accuracy: MinAccuracyOption = None,
    max_size_mb: MaxSizeOption = None,
    dataset: DatasetOption = None,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="The whole bundle, or its ONNX file or weights with the two documents.",
        ),
    ] = "bundle",
    trust: TrustOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Bring a registered subnet into a folder.

    Its files are compared with the SHA-256 that were registered. The folder appears whole or not
    at all; one that holds something else is left alone.
    """
    from ofa_pipeline.registry import check_signature, open_registry, validity_of

    uri, folder = _understood(words or ())
    bounds = bounds_of(
        device=device,
        max_latency_ms=max_latency_ms,
        quantile=quantile,
        verdict=verdict,
        min_accuracy=min_accuracy,
        max_size_mb=max_size_mb,
        dataset=dataset,
    )
    _check_question(uri, bounds)
    registry = open_registry(workspace)
    subnet = registry.version(uri) if uri else choose_subnet(registry, bounds)
    if trust is not None:
        check_signature(registry, subnet, trust)
    target = folder or default_folder(subnet)
    is_new = _fetch(registry, subnet, target, file_format)
    _show(subnet, target, _answer(subnet, target, file_format), is_new=is_new, as_json=as_json)
    warn_of_doubts(validity_of(registry, subnet), subnet)


def _understood(words: "list[str] | tuple[()]") -> tuple[str | None, Path | None]:
    """Return the version and the folder that were named.

    Raises:
        ParamsError: If there is more than one of each.
    """
    versions = [word for word in words if word.startswith(VERSION_PREFIX)]
    folders = [word for word in words if not word.startswith(VERSION_PREFIX)]
    if len(versions) > 1 or len(folders) > 1:
        raise ParamsError(
            f"pull takes one models:/NAME/VERSION and one folder, got {' '.join(words)}"
        )
    if folders == [""]:
        raise ParamsError("the folder must have a name, got ''")
    return (
        versions[0] if versions else None,
        Path(folders[0]).expanduser() if folders else None,
    )


def _check_question(uri: str | None, bounds: dict[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name in bounds]
    if uri and given:
        raise ParamsError(f"{uri} is one version: leave out {', '.join(given)}")
    if not uri and "device" not in bounds:
        raise ParamsError(
            "pull needs a version, models:/NAME/VERSION, or a device: --device NAME. "
            "See what there is: ofa-pipeline subnets"
        )


def _fetch(
    registry: "SubnetRegistry", subnet: "RegisteredSubnet", target: Path, file_format: Format
) -> bool:
    """Fill the folder; False if it holds just these files already.

    Raises:
        ParamsError: If it holds something else.
        RegistryError: If the files are gone or changed, or the format is not among them.
    """
    if target.exists() and not target.is_dir():
        raise ParamsError(f"{target} must be a new folder, it is a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    place = target.resolve()
    with temporary_folder("pull", parent=place.parent) as temporary:
        bundle = registry.download(subnet, temporary / "download")
        files = _chosen_files(bundle, subnet, file_format)
        whole = temporary / "whole"
        whole.mkdir()
        for path in files:
            shutil.copyfile(path, whole / path.name)
        if target.exists() and any(target.iterdir()):
            _check_same(target, whole, subnet)
            return False
        if target.exists():
            place.rmdir()
        whole.rename(place)
    return True


def _chosen_files(bundle: Path, subnet: "RegisteredSubnet", file_format: Format) -> list[Path]:
    there = {path.name: path for path in sorted(bundle.iterdir()) if path.is_file()}
    wanted = FILES.get(file_format, tuple(there))
    if file_format == "onnx":  # of a device in int8, what ships is one more
        wanted = tuple(dict.fromkeys([*wanted, *(name for name in there if _is_onnx(name))]))
    missing = [name for name in wanted if name not in there]
    if missing:
        raise RegistryError(
            f"{subnet.model_uri} has no {', '.join(missing)} for --format {file_format}, it has "
            f"{', '.join(there)}"
        )
    return [there[name] for name in wanted]


def _is_onnx(name: str) -> bool:
    return name.endswith(".onnx")


def _check_same(target: Path, whole: Path, subnet: "RegisteredSubnet") -> None:
    from ofa_pipeline.artifacts import digest_file

    def digests(folder: Path) -> dict[str, str | None]:
        # Python leaves its cache beside a classify.py that was imported.
        paths = [path for path in folder.iterdir() if path.name != "__pycache__"]
        return {path.name: digest_file(path) if path.is_file() else None for path in paths}

    if digests(target) != digests(whole):
        raise ParamsError(
            f"{target} must be new or empty, or hold {subnet.model_uri} already; it holds "
            "something else. Name another folder"
        )


def _answer(subnet: "RegisteredSubnet", target: Path, file_format: Format) -> "PullAnswer":
    from ofa_pipeline.artifacts import digest_file
    from ofa_pipeline.documents.answers import PullAnswer

    record = subnet.record
    paths = [path for path in sorted(target.iterdir()) if path.is_file()]
    return PullAnswer(
        model_uri=subnet.model_uri,
        folder=str(target),
        format=file_format,
        bundle_digest=record.bundle_digest,
        device=record.device,
        accuracy_top1=record.accuracy_top1,
        latency_ms=record.latency_ms,
        files={path.name: digest_file(path) for path in paths},
    )


def _show(
    subnet: "RegisteredSubnet", target: Path, answer: "PullAnswer", *, is_new: bool, as_json: bool
) -> None:
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), indent=2))
        return
    size = sum((target / name).stat().st_size for name in answer.files)
    lines = [
        describe_subnet(subnet),
        f"{'wrote' if is_new else 'is there already:'} {target}: {', '.join(answer.files)} "
        f"({size / 2**20:.1f} MiB, SHA-256 as registered)",
    ]
    if answer.format == "bundle":
        quoted = shlex.quote(str(target / "classify.py"))
        lines += [
            f"classify with it: add images or folders to `{command('predict', '--bundle', target)}`"
            f", or, without this package, images to `python {quoted}`",
        ]
    for line in lines:
        stdout.print(line, **PLAIN)
