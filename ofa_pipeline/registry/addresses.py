"""Addresses of registries: what ``MLFLOW_TRACKING_URI`` may hold, and what MLflow is given for it.

MLflow takes whatever it does not know for a folder, and a relative SQLite path from the current
folder. Here an address means one place, whoever reads it from wherever: it is made absolute, or
refused with the spelling that would be right.
"""

import difflib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.masking import mask_secrets

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
DATABASE_FILE = "mlflow.db"

_SQLITE = "sqlite:///"
_SQLITE_AS_URI = "sqlite+pysqlite:///file:"
"""SQLite's own URIs quote what SQLAlchemy would take for options; the name of the driver keeps
MLflow from making a folder called ``file:``."""
_HOST_AND_PORT = re.compile(r"(?:[^/@]+@)?(?:[A-Za-z0-9_.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}(?:/.*)?")
_HOST = re.compile(
    r"(?:[^/@]+@)?(?:localhost|(?:\d{1,3}\.){3}\d{1,3}|(?:[A-Za-z0-9-]+\.)+(?!db$)[A-Za-z]{2,})"
)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\|[^/]*\\")
_OTHER_NAMES = {"postgres": "postgresql", "mariadb": "mysql", "sqlserver": "mssql"}
_MAX_PORT = 65535
_DATABASE_USER = re.compile(
    # A password may hold "@", "#", "/": it ends before the first "@" that a host follows, and so
    # that HOST:5432/NAME?x=a@b has none, it does not begin like a port.
    r"(?P<scheme>[^:]+)://(?P<user>[^:/@?#]*):(?!\d{1,5}[/?])(?P<password>.*?)"
    r"@(?P<place>(?:[A-Za-z0-9_.-]*|\[[0-9a-fA-F:]+\])(?::\d+)?(?:[/?].*)?)"
)


def default_address(workspace: Path) -> str:
    """Return the address of the SQLite file of a workspace."""
    return sqlite_address(workspace.resolve() / DATABASE_FILE)


def sqlite_address(path: Path, options: str = "") -> str:
    """Return the address of a SQLite file, whatever characters its path has.

    Args:
        path: Absolute.
        options: What stands behind the ``?``, if anything does.
    """
    if "?" in str(path):
        joined = "&".join(part for part in ("uri=true", options) if part)
        return f"{_SQLITE_AS_URI}{quote(str(path))}?{joined}"
    return f"{_SQLITE}{path}" + (f"?{options}" if options else "")


def is_sqlite(uri: str) -> bool:
    """Whether an address is of a SQLite file."""
    return _kind(uri) == "sqlite"


def is_database(uri: str) -> bool:
    """Whether MLflow opens the database itself, without a server between."""
    return _kind(uri) in {"sqlite", *DEFAULT_PORTS}


def is_server(uri: str) -> bool:
    """Whether an MLflow server answers there."""
    return _kind(uri) in {"http", "https"}


def sqlite_path(uri: str) -> Path:
    """Return the file of a SQLite address, as SQLAlchemy and SQLite read it."""
    text, _, options = uri.partition("?")
    name = text.partition(":///")[2]
    if name.startswith("file:") and "uri=true" in options:
        return Path(unquote(name.removeprefix("file:")))
    return Path(name)


@dataclass(frozen=True, slots=True)
class Server:
    """Parts of the address of a server; user and password as they are written."""

    address: str
    """Without user and password, and without a slash at the end."""
    user: str = ""
    password: str = ""


def split_server(uri: str) -> Server:
    """Return the parts of an ``http`` address; a password may hold any character."""
    scheme, _, rest = uri.partition("://")
    authority = rest.partition("/")[0]
    if "@" not in authority and _HOST_AND_PORT.fullmatch(authority):
        return Server(uri.rstrip("/"))  # an "@" behind it belongs to the path
    userinfo, at, place = rest.rpartition("@")
    if not at:
        return Server(uri.rstrip("/"))
    user, _, password = userinfo.partition(":")
    return Server(f"{scheme}://{place.rstrip('/')}", user, password)


def _quoted_server(address: str) -> str:
    """Return a server's address with what its user and password hold quoted as URIs want it."""
    server = split_server(address)
    if not server.user and not server.password:
        return server.address
    user, password = (quote(unquote(part), safe="") for part in (server.user, server.password))
    scheme, _, place = server.address.partition("://")
    return f"{scheme}://{user}:{password}@{place}" if password else f"{scheme}://{user}@{place}"


def _quoted_database(address: str) -> str:
    """Return a database's address with what its user and password hold quoted as URIs want it."""
    found = _DATABASE_USER.fullmatch(address)
    if found is None:
        return address
    user, password = (quote(unquote(found[part]), safe="") for part in ("user", "password"))
    return f"{found['scheme']}://{user}:{password}@{found['place']}"


def resolve_address(text: str, workspace: Path) -> str:
    """Return what an address means in a workspace: the same place from everywhere.

    Args:
        text: As written in ``MLFLOW_TRACKING_URI``; empty for the workspace's own SQLite file.
        workspace: Relative paths are meant from there.

    Raises:
        RegistryError: If no registry can have such an address; says the right spelling.
    """
    address = text.strip()
    if not address:
        return default_address(workspace)
    _refuse_what_is_no_address(address, workspace)
    kind = _kind(address)
    if kind == "sqlite":
        return _resolve_sqlite(address, workspace)
    if kind in {"http", "https", *DEFAULT_PORTS}:
        _check_host(address, kind)
        meant = _quoted_server(address) if is_server(address) else _quoted_database(address)
        _check_parts(meant, address)
        return meant
    raise _refusal(address, f"{kind} is no kind of registry. {_KINDS}{_nearest(kind)}")


def _refuse_what_is_no_address(address: str, workspace: Path) -> None:
    """Refuse what has no scheme that could be meant."""
    if address[0] in "\"'`" or address[-1] in "\"'`":
        raise _refusal(
            address, f"quotes belong to it. Write: {address.strip(chr(34) + chr(39) + '`')}"
        )
    if any(character.isspace() for character in address) and not address.startswith("sqlite"):
        raise _refusal(address, "an address has no spaces: write %20 for one")
    if address.startswith(("databricks", "uc:", "arn:")):
        raise _refusal(
            address, f"registries on Databricks and SageMaker are not supported. {_KINDS}"
        )
    if _WINDOWS.match(address):
        raise _refusal(address, f"it looks like a Windows path. {_KINDS}")
    found = _HOST_AND_PORT.fullmatch(address)
    if found is not None or _HOST.fullmatch(address):
        raise _refusal(address, f"it has no scheme. Write: http://{address}")
    if "://" not in address:
        raise _not_a_folder(address, workspace)


def _not_a_folder(address: str, workspace: Path) -> RegistryError:
    if address.startswith("sqlite:"):
        path = address.removeprefix("sqlite:").lstrip("/")
        return _refusal(address, f"three slashes stand before a path. Write: {_SQLITE}{path}")
    scheme, slash, rest = address.partition("/")
    scheme = scheme.rstrip(":")
    if slash and scheme in {"http", "https", *DEFAULT_PORTS}:
        return _refusal(address, f"a slash is missing. Write: {scheme}://{rest.lstrip('/')}")
    path = address.removeprefix("file:")
    folder = workspace.resolve() / path
    if folder.suffix == ".db":
        return _refusal(address, f"it is a file. Write: {sqlite_address(folder)}")
    return _refusal(
        address,
        "it is no address, and MLflow keeps registries in folders no more. Write that of a server "
        f"(http://HOST:5000) or of a SQLite file ({sqlite_address(folder / DATABASE_FILE)})",
    )


def _resolve_sqlite(address: str, workspace: Path) -> str:
    head, _, options = address.partition("?")
    before, _, name = head.partition(":///")
    if "://" in before or not name:
        meant = head.partition("://")[2].lstrip("/") or DATABASE_FILE
        raise _refusal(address, f"three slashes stand before a path. Write: {_SQLITE}{meant}")
    if name == ":memory:" or "mode=memory" in options:
        raise _refusal(address, "a registry in memory is lost at once. Name a file")
    if options and not all(part.partition("=")[1] for part in options.split("&")):
        right = sqlite_address(workspace.resolve() / f"{name}?{options}")
        raise _refusal(
            address, f"options stand behind the ?. If it belongs to the path, write: {right}"
        )
    if name.startswith("~"):
        right = sqlite_address(Path(name).expanduser())
        raise _refusal(address, f"~ is not expanded there. Write: {right}")
    path = sqlite_path(address)
    if path.is_absolute():
        return address
    rest = "&".join(part for part in options.split("&") if part and part != "uri=true")
    return sqlite_address(Path(os.path.normpath(workspace.resolve() / path)), rest)


def _check_host(address: str, kind: str) -> None:
    """Check that an address has a host and a port that can be one.

    A password may hold anything: only what stands behind the last ``@`` is looked at.
    """
    rest = address.partition("://")[2]
    place = re.split(r"[/?#]", rest.rpartition("@")[2])[0]
    host, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not colon:
        host, port = place, ""
    if not host and not (kind in DEFAULT_PORTS and _names_host_in_options(address)):
        raise _refusal(address, f"it names no host. Write: {kind}://HOST:PORT")
    if colon and (not port.isdecimal() or not 0 < int(port) <= _MAX_PORT):
        raise _refusal(address, f"{port!r} is no port. Write a number from 1 to {_MAX_PORT}")


def _check_parts(meant: str, address: str) -> None:
    """Check that every program will find the same host and port in an address.

    What the parser says is not shown: it may hold a part of a password.
    """
    with suppress(ValueError):
        _ = urlsplit(meant).port
        return
    raise _refusal(
        address,
        "its host and port cannot be told from the rest. In a password write %40 for @, %23 for #, "
        "%2F for / and %3F for ?; a number of IPv6 stands in [ ]",
    )


def _names_host_in_options(address: str) -> bool:
    """Whether the host stands among the options, as a socket of PostgreSQL does, or is implied."""
    parts = urlsplit(address)
    return bool(dict(parse_qsl(parts.query)).get("host")) or parts.path.strip("/") != ""


def _kind(uri: str) -> str:
    return uri.partition("://")[0].partition("+")[0].lower()


def _nearest(kind: str) -> str:
    known = ["http", "https", "sqlite", *DEFAULT_PORTS]
    near = [_OTHER_NAMES[kind]] if kind in _OTHER_NAMES else difflib.get_close_matches(kind, known)
    return f" Perhaps {near[0]}:// is meant." if near else ""


_KINDS = (
    "It is a server (http://HOST:5000), a SQLite file (sqlite:////FOLDER/mlflow.db) or another "
    "database (postgresql://HOST/NAME)."
)


def _refusal(address: str, reason: str) -> RegistryError:
    return RegistryError(
        f"{URI_VARIABLE} must be the address of a registry, got {mask_secrets(address)!r}: "
        f"{mask_secrets(reason).rstrip('.')}. Unset, the registry is {DATABASE_FILE} in the "
        "workspace."
    )
