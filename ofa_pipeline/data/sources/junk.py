"""Files that operating systems and tools leave beside data: never images, never listed."""

_NAMES = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
        *("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"),
        *(".ds_store", ".appledouble", ".spotlight-v100", ".trashes", ".fseventsd"),
        *(".ipynb_checkpoints", ".git", ".gitignore", ".gitkeep", ".gitattributes"),
        *(".dvc", ".dvcignore", ".cache", ".directory"),
    }
)


def is_junk(name: str) -> bool:
    """Return whether the name of a file or folder is that of a system's or tool's own.

    Args:
        name: The last part of a path, for example ``.DS_Store``, ``Thumbs.db`` or ``._cat.png``.
    """
    return name.startswith("._") or name.lower() in _NAMES
