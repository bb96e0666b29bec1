"""What runs on a machine: the versions that results depend on, told of every node of a cluster.

Of the standard library alone, because it is sent as a value to nodes that may lack the rest.
"""

import hashlib
import importlib.util
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = "ofa_pipeline"
PACKAGES = ("torch", "torchvision", "numpy", "pyarrow", "pillow", "safetensors", "pydantic", "ray")
NOT_INSTALLED = "not installed"


def find_software(packages: Sequence[str], own: str | None = None) -> dict[str, str]:
    """Return the versions of Python and of packages here, and the digest of our own code.

    Args:
        packages: Names of distributions.
        own: The package whose code is digested; None: of no one's.
    """
    found = {"Python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = NOT_INSTALLED
    if own is None:
        return found
    spec = importlib.util.find_spec(own)
    places = list(spec.submodule_search_locations or ()) if spec else []
    found[own] = f"code {_digest(Path(places[0]))}" if places else NOT_INSTALLED
    return found


def look_around(packages: Sequence[str], own: str, path: str) -> tuple[dict[str, str], bool]:
    """Return what `find_software` finds here, and whether this machine sees a file."""
    return find_software(packages, own), Path(path).exists()


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return what differs between two machines, a phrase each with both versions."""
    return [
        f"{name} {version_here} here, {there.get(name, NOT_INSTALLED)} there"
        for name, version_here in here.items()
        if there.get(name, NOT_INSTALLED) != version_here
    ]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
