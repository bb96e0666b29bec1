"""How to install what is missing where a folder is measured.

Such folders carry this file: it works on Python 3.9.
"""

from __future__ import annotations

import importlib.machinery
import sys
import sysconfig
from pathlib import Path

_PIP = "pip install "
_ENVIRONMENT = "~/ofa-measuring"


def how_to_install(wanted: str) -> str:
    """Return a command as it works with the Python that runs this.

    Args:
        wanted: What installs something, such as ``pip install onnxruntime``; anything else is
            returned as it is.
    """
    if not wanted.startswith(_PIP):
        return wanted
    packages = wanted[len(_PIP) :]
    if _is_of_the_system():
        python = f"{_ENVIRONMENT}/bin/python"
        return (
            f"{sys.executable} -m venv {_ENVIRONMENT} && {python} -m pip install {packages} ; then "
            f"let {python} measure (over ssh: python in the card of the device)"
        )
    first = "" if _has_pip() else f"{sys.executable} -m ensurepip && "
    return f"{first}{sys.executable} -m pip install {packages}"


def _has_pip() -> bool:
    # Past the finder of setuptools, which warns where distutils has been imported.
    return importlib.machinery.PathFinder.find_spec("pip") is not None


def _is_of_the_system() -> bool:
    """Whether this is a Python that takes packages of its system alone (PEP 668)."""
    mark = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and mark.exists()
