"""Parts of the package that are one file each, such as the runtimes: the file's name is theirs."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def part_names(folder: str) -> tuple[str, ...]:
    """Return the names of the parts in a folder of the package, in alphabetical order.

    Nothing is imported, so that params.yaml is checked without what the parts need.

    Args:
        folder: Its path within the package, such as ``devices/runtimes``. Files whose name begins
            with an underscore are not parts.
    """
    files = (_PACKAGE / folder).glob("[!_]*.py")
    return tuple(sorted(file.stem for file in files))
