"""Who runs this, and where that user may keep things: any uid, with or without a home.

In a container a process often runs as a uid without a passwd entry, with ``HOME`` unset, ``/``
or another user's, and with the ``USER`` of whoever started the container. The tools that we
start ask for both and fail, so they are told what holds before they are imported.
"""

import os
import pwd
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from ofa_pipeline.errors import OfaPipelineError, ParamsError
from ofa_pipeline.temporary import temporary_root

_NAME_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")
"""In the order in which Python's `getpass.getuser` asks them."""


def settle_user(environment: MutableMapping[str, str]) -> None:
    """Set what names the user and the home, where what is set cannot be right.

    ``LOGNAME`` is set where nothing names the user, or the name is that of another uid. ``HOME`` is
    set where no home can be entered, to a private folder among the temporary files;
    ``XDG_CACHE_HOME`` and ``MPLCONFIGDIR``, where the home cannot be written to.

    Raises:
        OfaPipelineError: If a folder in place of the home cannot be made.
    """
    if not _is_name_right(environment):
        environment["LOGNAME"] = _own_name()
    home = _home(environment)
    if home is None or not _can_enter(home):
        home = _stand_in()
        environment["HOME"] = str(home)
    if not _can_be_written(home / ".cache"):
        cache = str(_stand_in() / ".cache")
        environment.setdefault("XDG_CACHE_HOME", cache)
    if not _can_be_written(home / ".config"):
        environment.setdefault("MPLCONFIGDIR", str(_stand_in() / ".config" / "matplotlib"))


def expand_home(path: str | Path) -> Path:
    """Return a path with ``~`` and ``~name`` replaced by homes.

    Raises:
        ParamsError: If there is no such home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ParamsError(
            f"the home folder that {path} begins with is not known here: user {_own_name()} has "
            "none, or nobody is called so. Write the whole path, or set HOME."
        ) from error


def _is_name_right(environment: MutableMapping[str, str]) -> bool:
    """Return whether what is set, or the passwd entry, does not name another uid."""
    named = next((environment[key] for key in _NAME_VARIABLES if environment.get(key)), None)
    if named is None:
        return _entry() is not None
    try:
        return pwd.getpwnam(named).pw_uid == os.getuid()
    except KeyError:
        return True  # a name of the user's choice


def _own_name() -> str:
    entry = _entry()
    return entry.pw_name if entry is not None else f"uid-{os.getuid()}"


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        return None


def _home(environment: MutableMapping[str, str]) -> Path | None:
    """Return the home as Python finds it; None without one."""
    if "HOME" in environment:
        return Path(environment["HOME"]) if environment["HOME"] else None
    entry = _entry()
    return Path(entry.pw_dir) if entry is not None and entry.pw_dir else None


def _can_enter(folder: Path) -> bool:
    try:
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    except OSError:
        return False


def _can_be_written(folder: Path) -> bool:
    """Return whether a folder, or where it is missing its parent, can be written to."""
    try:
        found = folder if folder.exists() else folder.parent
    except OSError:
        return False
    return os.access(found, os.W_OK | os.X_OK)


def _stand_in() -> Path:
    """Return a folder of this uid's own among the temporary files: the same one every time."""
    path = temporary_root() / f"ofa-pipeline-home-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return Path(tempfile.mkdtemp(prefix=f"{path.name}-"))  # another user was faster
        path.chmod(0o700)
    except OSError as error:
        raise OfaPipelineError(
            f"user {_own_name()} must have a home folder, but has none that can be used, and "
            f"{path} cannot be made: {error.strerror}. Set HOME to a folder that can be written."
        ) from error
    return path
