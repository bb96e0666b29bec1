"""`ofa-pipeline sign`: vouch for a version with the key of a team."""

import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_pipeline.cli.hints import pasteable
from ofa_pipeline.cli.options import WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout

if TYPE_CHECKING:
    from ofa_pipeline.documents import SubnetCertificate
    from ofa_pipeline.registry import RegisteredSubnet, Validity

TrustOption = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        envvar="OFA_PIPELINE_TRUSTED_KEY",
        help="Public key (PEM): refuse what it has not signed.",
    ),
]

_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("sign")(sign)


def sign(
    version: Annotated[str, typer.Argument(metavar="models:/NAME/VERSION")],
    *,
    key: Annotated[Path, typer.Option("--key", help="Private Ed25519 key, PEM.")],
    valid_days: Annotated[
        float, typer.Option("--valid-days", min=1, max=36500, help="Until it expires.")
    ] = 365,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Sign a version, after its files were compared with their digests.

    The signature is of the digest of its files and the name of its model, and lies in the registry.
    """
    from ofa_pipeline.registry import (
        certify_version,
        open_registry,
        sign_version,
        signer_of,
    )

    registry = open_registry(workspace)
    subnet = registry.version(version)
    certificate = certify_version(registry, subnet)
    before = signer_of(registry, subnet)
    found = sign_version(registry, subnet, key, valid_days=valid_days)
    stdout.print(f"signed {version} with the key {found.key}, until {found.expires[:10]}", **PLAIN)
    if before not in (None, found.key):
        stdout.print(f"it takes the place of the signature of the key {before}", **PLAIN)
    warn_of_doubts(certificate, subnet)
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & _OF_OTHERS:
        stderr.print(
            f"warning: {key} must be for its owner alone, but other users of this machine may "
            f"use it (permissions {mode:03o}): chmod 600 {shlex.quote(str(key))}",
            **PLAIN,
        )


def warn_of_doubts(found: "Validity | SubnetCertificate", subnet: "RegisteredSubnet") -> None:
    """Say beside an answer why the certificate of a version is not to be relied on."""
    from ofa_pipeline.registry import doubts

    for line in doubts(found, device=subnet.record.device):
        stderr.print(pasteable(f"warning: {line}"), **PLAIN)
