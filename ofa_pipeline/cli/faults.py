"""Errors that are nobody's fault of programming: a full disk, a server that is gone, a bad file.

The libraries below us raise their own. They are told by the names of their classes, because
importing all of them to name a class would make every command slow. What is not listed here is a
fault of the program, and is said to be one.
"""

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ofa_pipeline.errors import shorten

_MAX_DETAIL = 500

_ERRNO_ADVICE: Mapping[int, str] = {
    errno.ENOSPC: "Free space on that disk",
    errno.EDQUOT: "Free space in your quota",
    errno.EACCES: "Change the permissions",
    errno.EPERM: "Change the permissions or the owner",
    errno.EROFS: "That file system is read-only",
    errno.ENOENT: "Check the path",
    errno.ENOTDIR: "Check the path: a file stands where a folder should",
    errno.EISDIR: "Check the path: a folder stands where a file should",
    errno.EEXIST: "Check the path: something is there already",
    errno.ENOTEMPTY: "Something else writes there: stop it and run again",
    errno.ELOOP: "Check the path: its symbolic links go in a circle",
    errno.ENAMETOOLONG: "Shorten the names",
    errno.EINVAL: "Check the path and its file system",
    errno.EMFILE: "Raise the limit of open files: ulimit -n 4096",
    errno.ENFILE: "The machine has too many open files: close other programs",
    errno.EAGAIN: "The machine has no process or thread left for you: see ulimit -u",
    errno.ENOMEM: "Close other programs, or lower the batch sizes in params.yaml",
    errno.EFBIG: "The file system or ulimit -f allows no larger file",
    errno.EIO: "The disk or the network file system fails: see dmesg, and copy what you need",
    errno.ESTALE: "The network file system lost the file: mount it again and run again",
    errno.ENXIO: "Check the path: nothing answers there",
    errno.ENODEV: "Check the path: nothing answers there",
    errno.EBUSY: "Something else uses it: stop it and run again",
    errno.ETXTBSY: "Something else uses it: stop it and run again",
    errno.ENOLCK: "That file system has no locks: use a local disk",
    errno.EOPNOTSUPP: "That file system cannot do it: use a local disk",
    errno.ENOEXEC: "The program is damaged or made for another machine: install it again",
    errno.EPIPE: "Whoever read the output has gone",
    errno.EADDRINUSE: "Choose another port, or stop what listens there",
    errno.EADDRNOTAVAIL: "Check the address",
}
_MOVABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
"""Where another folder helps, if that is where the file lies."""

_SERVER = "Check that the server runs and that its address is right, then run again."
_FILE = "Check the file, or make it again."
_MEMORY = "Close other programs, lower the batch sizes in params.yaml, or use a larger machine."
_INSTALL = "Install the package again: make setup"

# Full names of classes, or of packages of classes; the first that fits says what happened and
# what to do. A subclass fits too.
_KINDS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("builtins.MemoryError", "torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError"),
        "there is not enough memory",
        _MEMORY,
    ),
    (
        ("torch.AcceleratorError",),
        "the accelerator failed",
        "See nvidia-smi and dmesg, then run again.",
    ),
    (
        ("builtins.RecursionError",),
        "something is nested deeper than can be read",
        "Check the files you gave; if none is, run again with --debug and report the traceback.",
    ),
    (
        ("ssl.SSLError", "ssl.CertificateError"),
        "the server's certificate or encryption was refused",
        "Check the address, the clock of this machine, and SSL_CERT_FILE for an own authority.",
    ),
    (
        ("socket.gaierror", "socket.herror"),
        "the name of a server is unknown",
        "Check the address and the network.",
    ),
    (
        ("builtins.TimeoutError", "builtins.ConnectionError", "http.client.HTTPException"),
        "a server does not answer",
        _SERVER,
    ),
    (("urllib.error.URLError",), "a server does not answer", _SERVER),
    (("requests.exceptions.RequestException",), "a server does not answer", _SERVER),
    (
        ("httpx", "httpcore", "urllib3", "aiohttp", "websockets"),
        "a server does not answer",
        _SERVER,
    ),
    (("prefect.exceptions",), "Prefect refuses", "Check its server (PREFECT_API_URL), run again."),
    (
        ("mlflow.exceptions",),
        "MLflow refuses",
        "Check the registry (MLFLOW_TRACKING_URI) and run again.",
    ),
    (
        ("dvc.exceptions", "dvc_data", "dvc_objects", "scmrepo", "git.exc"),
        "DVC or git refuses",
        "Check the workspace with: dvc status",
    ),
    (
        ("sqlite3.Error", "sqlalchemy.exc"),
        "a database refuses",
        "Close other programs that use it, check its disk, and run again.",
    ),
    (
        ("subprocess.CalledProcessError", "subprocess.TimeoutExpired"),
        "a program that was started failed",
        "Run it by hand to see why.",
    ),
    (
        ("builtins.UnicodeError",),
        "a text cannot be read or written in this encoding",
        "Use names and files in UTF-8, and a UTF-8 locale: export LC_ALL=C.UTF-8",
    ),
    (
        (
            "json.decoder.JSONDecodeError",
            "yaml",
            "ruamel.yaml",
            "tomllib.TOMLDecodeError",
            "configparser.Error",
            "zipfile.BadZipFile",
            "tarfile.TarError",
            "zlib.error",
            "lzma.LZMAError",
            "pickle.UnpicklingError",
            "builtins.EOFError",
            "PIL",
            "pyarrow.lib",
            "safetensors",
            "safetensors_rust",
            "onnx",
            "onnxruntime",
            "google.protobuf",
        ),
        "a file is damaged, or of another kind than it should be",
        _FILE,
    ),
    (
        ("importlib.metadata.PackageNotFoundError", "builtins.ImportError"),
        "a package is missing or does not fit",
        _INSTALL,
    ),
)

# What PyTorch and Prefect raise as a bare RuntimeError is told by its words.
_WORDS: tuple[tuple[str, str, str], ...] = (
    ("Failed to reach API at", "Prefect's server does not answer", _SERVER),
    ("out of memory", "there is not enough memory", _MEMORY),
    ("can't allocate memory", "there is not enough memory", _MEMORY),
    ("CUDA error", "the accelerator failed", "See nvidia-smi and dmesg, then run again."),
    ("can't start new thread", "the machine has no thread left for you", "See ulimit -u."),
    ("No space left on device", "a disk is full", "Free space on it."),
    ("Could not determine home", "this user has no home folder", "Set HOME to a folder of yours."),
)


def explain_fault(error: BaseException) -> str | None:
    """Return what happened and what to do, in one line; None for a fault of the program."""
    for link in _chain(error):
        text = _explain_os_error(link) or _explain_kind(link)
        if text is not None:
            return text
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from, the first cause last.

    What an error merely met on its way is not its cause, unless a library forgot to say so.
    """
    met: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in met:
        met.add(id(link))
        if isinstance(link, BaseExceptionGroup) and link.exceptions:
            link = link.exceptions[0]
            continue
        yield link
        link = link.__cause__ or getattr(link, "orig", None)


def _explain_os_error(error: BaseException) -> str | None:
    if not isinstance(error, OSError) or error.errno not in _ERRNO_ADVICE:
        return None
    name = _name_of(error.filename)
    if error.errno == errno.ENOENT and name and os.sep not in name and not Path(name).exists():
        return f"{error.strerror}: {name}. Install the program {name}, or check the path."
    where = f" ({name})" if name else ""
    return f"{error.strerror}{where}. {_advice(error, name)}."


def _advice(error: OSError, name: str) -> str:
    advice = _ERRNO_ADVICE[error.errno or 0]
    if error.errno not in _MOVABLE:
        return advice
    if name and (given := _given(name)):
        return f"{advice}, or name another place than {given}"
    if name and _is_in(name, os.environ.get("TMPDIR") or "/tmp"):  # noqa: S108 - compared only
        return f"{advice}, or set TMPDIR to another folder"
    if name and _is_in(name, str(_workspace())):
        return f"{advice}, or choose another folder with --workspace"
    if name and _is_in(name, os.environ.get("HOME", "")):
        return f"{advice}, or set HOME to another folder"
    return advice


def _given(name: str) -> str:
    """Return the place that the command was given for a file, other than the workspace."""
    words = [word.partition("=")[2] if word.startswith("-") else word for word in sys.argv[1:]]
    places = [word for word in words if _is_in(name, word)]
    workspace = _workspace().absolute()
    return next(
        (word for word in places if not workspace.is_relative_to(Path(word).absolute())), ""
    )


def _workspace() -> Path:
    """Return the folder that this command works in, by its words."""
    for word, value in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        if word in ("--workspace", "-w") and value:
            return Path(value)
        if word.startswith("--workspace="):
            return Path(word.partition("=")[2])
    return Path()


def _is_in(name: str, folder: str) -> bool:
    try:
        return bool(folder) and Path(name).absolute().is_relative_to(Path(folder).absolute())
    except OSError:
        return False  # the current folder was removed


def _name_of(filename: object) -> str:
    if isinstance(filename, bytes):
        filename = os.fsdecode(filename)
    return shorten(filename, 300) if isinstance(filename, str) else ""


def _explain_kind(error: BaseException) -> str | None:
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    for kinds, what, advice in _KINDS:
        if any(name == kind or name.startswith(f"{kind}.") for name in names for kind in kinds):
            return f"{what}: {_detail(error)}. {advice}"
    if isinstance(error, RuntimeError):
        for words, what, advice in _WORDS:
            if words in str(error):
                return f"{what}: {_detail(error)}. {advice}"
    if isinstance(error, OSError):
        return f"{_detail(error)}. Check the file, the disk or the address that it names."
    return None


def _detail(error: BaseException) -> str:
    """Return the first lines of a library's text, on one line, with the name of its class."""
    reason = getattr(error, "reason", None) if isinstance(error, OSError) else None
    text = " ".join(str(reason or error).split()).rstrip(".")
    kind = type(error).__name__
    return shorten(f"{text} ({kind})" if text else kind, _MAX_DETAIL)
