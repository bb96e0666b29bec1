"""Where tests find the data that lies beside the project while it is developed."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"


def shared_path(relative: str) -> Path:
    """Return a file of ``../shared``; skip the test where it is not there.

    Args:
        relative: Path within that folder.
    """
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"needs {path}, which is only there where the project is developed")
    return path
