"""Whether the files that a registry gives are those that were registered."""

import json
from pathlib import Path

from ofa_pipeline.artifacts import Layout, digest_file, digest_json
from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry.plain_files import check_names, plain_files
from ofa_pipeline.registry.record import RegisteredSubnet

SHOWN = 5


def check_files(folder: Path, subnet: RegisteredSubnet, *, where: str) -> None:
    """Compare a downloaded bundle with the digest in its record.

    Args:
        folder: The bundle; the digest is of all files in it.
        subnet: As the registry knows it.
        where: The registry, for the message.

    Raises:
        RegistryError: If a byte differs, there is more than plain files, or a document names a
            file elsewhere; names the files where the card knows their digests.
    """
    files = plain_files(folder, source=f"{subnet.model_uri} on {where}")
    digests = {name: digest_file(path) for name, path in files.items()}
    found, expected = digest_json(digests), subnet.record.bundle_digest
    if found == expected:
        check_names(folder, source=f"{subnet.model_uri} on {where}")
        return
    changed = _changed(folder, digests)
    names = f" (changed or not of it: {', '.join(changed[:SHOWN])})" if changed else ""
    raise RegistryError(
        f"the files of {subnet.model_uri} on {where} must be those that were registered, with a "
        f"SHA-256 that begins {expected[:12]}; found {found[:12]}{names}. Do not use them: restore "
        "the files from a backup, or delete this version and run the stage register again."
    )


def _changed(folder: Path, digests: dict[str, str]) -> list[str]:
    """Return the files that are not as the card states; none when it states nothing."""
    try:
        stated = json.loads((folder / Layout.CARD).read_text())["files"]
        others = digests.keys() - {Layout.CARD}
        return sorted(
            name for name in others | stated.keys() if stated.get(name) != digests.get(name)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
