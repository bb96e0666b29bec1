"""What is added by a file of its own: modules of a folder, known by name before any is imported."""

import pkgutil
from pathlib import Path

_ROOT = Path(__file__).parent


def plugin_names(folder: str) -> tuple[str, ...]:
    """Return the names of the modules in a folder of the package, sorted; none is imported.

    Modules whose names begin with an underscore are left out.

    Args:
        folder: Relative to the package, for example ``search/samplers``.
    """
    names = (found.name for found in pkgutil.iter_modules([str(_ROOT / folder)]))
    return tuple(sorted(name for name in names if not name.startswith("_")))
