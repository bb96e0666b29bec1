"""`ofa-pipeline certificate`: what was measured of a subnet's file, and whether it is that file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ofa_pipeline.cli.chosen import VERSION_PREFIX
from ofa_pipeline.cli.hints import pasteable
from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.options import JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.cli.sign import TrustOption
from ofa_pipeline.errors import ParamsError, shown

if TYPE_CHECKING:
    from ofa_pipeline.documents import DeviceCertificate, SubnetCertificate

VERDICTS = {
    "within": "within, with 95 % confidence",
    "within_noise": "within the noise",
    "over": "over",
}


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("certificate")(certificate)


def certificate(
    version: Annotated[
        str,
        typer.Argument(
            metavar="models:/NAME/VERSION", help="A version, or the folder of a bundle."
        ),
    ],
    *,
    valid_days: Annotated[
        float,
        typer.Option("--valid-days", min=0, max=36500, help="Days from registration to expiry."),
    ] = 365,
    trust: TrustOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Show the certificate of a subnet, after its files were compared with their digests.

    The exit code is 1 when a file is gone or is not the one that was measured and registered.
    """
    from ofa_pipeline.registry import doubts

    found = _certificate(version, valid_days=valid_days, workspace=workspace, trust=trust)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _show(found)
    for device in [item.device for item in found.devices][:1]:
        for line in doubts(found, device=device):
            stderr.print(pasteable(line), **PLAIN)


def _certificate(
    version: str, *, valid_days: float, workspace: Path, trust: Path | None
) -> "SubnetCertificate":
    from ofa_pipeline.registry import (
        certify_bundle,
        certify_version,
        check_signature,
        open_registry,
    )

    folder = Path(version).expanduser()
    if not version.startswith(VERSION_PREFIX) and folder.is_dir():
        if trust is not None:
            raise ParamsError(
                f"{version} is a folder, and signatures lie in the registry: leave out --trust, or "
                "name models:/NAME/VERSION."
            )
        return certify_bundle(folder)
    if not version.startswith(VERSION_PREFIX):
        raise ParamsError(
            "certificate takes models:/NAME/VERSION or the folder of a bundle, got "
            f"{shown(version)}. See what there is: ofa-pipeline subnets"
        )
    registry = open_registry(workspace)
    subnet = registry.version(version)
    if trust is not None:
        signature = check_signature(registry, subnet, trust)
        stderr.print(f"signed by {signature.key}, until {signature.expires[:10]}", **PLAIN)
    return certify_version(registry, subnet, valid_days=valid_days)


def _show(found: "SubnetCertificate") -> None:
    stdout.print(f"certificate of {found.source}", **PLAIN)
    for item in found.devices:
        print_table(_device_table(item), stdout)
    lines = [
        f"top-1 {found.accuracy_top1:.2%} on {found.num_test_images} test images, arch "
        f"{found.arch_id}",
        *(f"SHA-256 {digest}  {name}" for name, digest in found.files.items()),
        f"all {len(found.files)} files are as they were measured and registered (bundle "
        f"{found.bundle_digest[:12]})",
    ]
    if found.issued is not None and found.expires is not None:
        lines.append(
            f"registered {found.issued:%Y-%m-%d %H:%M} UTC, expires {found.expires:%Y-%m-%d}"
        )
    for line in lines:
        stdout.print(line, **PLAIN)


def _device_table(item: "DeviceCertificate") -> Table:
    from ofa_pipeline.registry import first_run_rows

    card = item.card
    table = Table(title=f"Latency on {item.device}", title_justify="left", show_header=False)
    table.add_column("what", overflow="fold")
    table.add_column("value", overflow="fold")
    table.add_row("hardware", card.hardware)
    table.add_row("runtime", f"{card.runtime} {card.runtime_version}")
    table.add_row(
        "settings",
        f"{card.accelerator}, {card.precision}, threads {card.threads}, batch {card.batch_size}"
        f"{card.told}",
    )
    table.add_row("device card", item.fingerprint)
    table.add_row(
        "p50", f"{item.p50_ms:.4g} ms (95 % interval {item.ci_low_ms:.4g} to {item.ci_high_ms:.4g})"
    )
    table.add_row(
        "p95", f"{item.p95_ms:.4g} ms (95 % interval up to {item.p95_high_ms:.4g}, rough)"
    )
    dropped = f", {item.num_dropped_runs} dropped" if item.num_dropped_runs else ""
    table.add_row("runs", f"{item.num_runs}{dropped}, attempts {len(item.attempts_p50_ms)}")
    note = " (the machine was never quiet: rough)" if item.is_contended else ""
    note += " (calls still became faster: rough)" if item.is_warm is False else ""
    table.add_row("stability", f"{item.stability:.2f}{note}")
    for what, value in first_run_rows(item):
        table.add_row(what, value)
    table.add_row("file", f"{item.file} {item.file_digest[:12]}")
    for budget in item.budgets:
        table.add_row(
            f"budget {budget.budget_ms:.4g} ms",
            f"p50 {VERDICTS[budget.p50]}; p95 {VERDICTS[budget.p95]}",
        )
    return table
