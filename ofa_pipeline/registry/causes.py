"""Why a registry did not do what it was asked, and what helps: each cause has its own advice.

MLflow wraps what went wrong once or more: the first cause that is known, from the outside in, by
type, number or text, names the advice.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.registry.addresses import is_server, is_sqlite

MAX_LENGTH = 300


@dataclass(frozen=True, slots=True)
class _Cause:
    pattern: re.Pattern[str]
    advice: str


def _cause(pattern: str, advice: str) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE), advice)


_FULL = "The disk is full: free space there and run again."
_DEAD = (
    "Nobody answers there: start the server, or correct MLFLOW_TRACKING_URI, and run again; what "
    "is registered stays."
)
_SLOW = "It does not answer in time: look whether it is overloaded or stopped, and run again."

_OF_FILES = (
    _cause(r"database or disk is full|no space left|disk quota|ENOSPC|EDQUOT", _FULL),
    _cause(
        r"file too large|EFBIG",
        "Files may not be so large there: raise the limit (ulimit -f), or use another file system, "
        "and run again.",
    ),
    _cause(
        r"database (table )?is locked",
        "Another program writes into it: close what uses it (mlflow ui, mlflow server), or wait, "
        "and run again.",
    ),
    _cause(
        r"readonly database|read-only file system",
        "It cannot be written: change its permissions, or name another registry.",
    ),
    _cause(
        r"permission denied|not permitted|not writable|unable to open database file",
        "Change the permissions of the file and its folder, or name another registry.",
    ),
    _cause(
        r"malformed|not a database|file is encrypted|disk I/O error",
        "The file is damaged: restore it from a copy, or move it away; the stage register then "
        "registers again what the artifacts hold.",
    ),
    _cause(
        r"no such (table|column)|duplicate column|can't locate revision|out-of-date|schema",
        "Its tables are of another version of MLflow: install the one that it was made with, or "
        "bring it up to date on a copy: mlflow db upgrade ADDRESS.",
    ),
)

_OF_SERVERS = (
    _cause(
        r"\b401\b|unauthorized|unauthenticated|not authenticated",
        "The server wants a user and a password: set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
    ),
    _cause(
        r"\b403\b|forbidden|permission_denied",
        "The server does not let this user do it: ask its administrator; a host that it does not "
        "know it refuses, too (MLFLOW_SERVER_ALLOWED_HOSTS).",
    ),
    _cause(
        r"name or service not known|name resolution|nodename nor|getaddrinfo|no address associated",
        "The name of its host is not known: correct MLFLOW_TRACKING_URI, or look at the network.",
    ),
    _cause(
        r"certificate|SSL|wrong version number",
        "The encrypted connection failed: look at http or https in MLFLOW_TRACKING_URI, and at the "
        "certificate (MLFLOW_TRACKING_SERVER_CERT_PATH).",
    ),
    _cause(
        r"connection refused|connection reset|connection aborted|remote end closed"
        r"|broken pipe|could not connect|connection to server|no route|unreachable|newconnection"
        r"|server closed the connection|terminating connection|server has gone away|is starting up",
        _DEAD,
    ),
    _cause(r"timed? ?out|timeout", _SLOW),
    _cause(
        r"\b50[234]\b|bad gateway|service unavailable|gateway",
        "What stands before it (a proxy) finds it dead or overloaded: start it, and run again.",
    ),
    _cause(
        r"\b404\b|endpoint|not valid json|JSONDecode|expecting value|response body"
        r"|internal_error:.*(not found|nothing is at)",  # MLflow's own name their error otherwise
        "What answers there is no MLflow server of the version of this environment: correct "
        "MLFLOW_TRACKING_URI.",
    ),
    _cause(r"\b429\b|too many requests", "It is overloaded: wait, and run again."),
    _cause(r"\b500\b|internal_error|internal server error", "Its own log says why."),
)

_OF_DATABASES = (
    _cause(
        r"no module named|can't load plugin|cannot import|dialect",
        "The driver of that database is not installed: pip install psycopg2-binary (PostgreSQL), "
        "pymysql (MySQL) or pyodbc (SQL Server).",
    ),
    _cause(
        r"authentication failed|no password supplied|access denied|login failed|role .* does not",
        "The database refuses the user or the password in MLFLOW_TRACKING_URI: correct them.",
    ),
    _cause(r"database .* does not exist|unknown database", "Create that database first."),
)


def explain(error: BaseException, address: str) -> tuple[str, str]:
    """Return what went wrong, in one line that may be shown, and what to do.

    Args:
        error: As MLflow, SQLAlchemy or the network raised it.
        address: Address of the registry.
    """
    texts = [_text_of(link) for link in _chain(error)]
    reason = mask_secrets(texts[0]).rstrip(".")
    if len(reason) > MAX_LENGTH:
        reason = f"{reason[:MAX_LENGTH]}..."
    return reason, _advice(texts, address)


def advice_for_file(error: BaseException | str) -> str:
    """Return what to do about an error of a SQLite file."""
    texts = [error] if isinstance(error, str) else [_text_of(link) for link in _chain(error)]
    return _first(texts, _OF_FILES) or "Look at the file and its folder, and run again."


def _advice(texts: list[str], address: str) -> str:
    order: tuple[_Cause, ...]
    if is_server(address):
        order = (*_OF_SERVERS, *_OF_FILES)
        default = "The server's own log may say why; it should run the MLflow of this environment."
    elif is_sqlite(address):
        order, default = _OF_FILES, "Look at the file and its folder, and run again."
    else:
        order = (*_OF_DATABASES, *_OF_SERVERS, *_OF_FILES)
        default = "The log of the database may say why."
    return _first(texts, order) or default


def _first(texts: list[str], causes: tuple[_Cause, ...]) -> str:
    for text in texts:
        for cause in causes:
            if cause.pattern.search(text):
                return cause.advice
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was made of, each once."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, getattr(link, "reason", None), getattr(link, "orig", None)]
        waiting += [*link.args, link.__context__]


def _text_of(error: BaseException) -> str:
    """Return the first line of an error, with the name of its number where it has one.

    Of files that could not be copied, MLflow tells in the lines after the first.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    told = [line for line in lines[1:] if line.strip() and not line.startswith("#####")]
    text = f"{lines[0]} {told[0]}" if lines[0].endswith(":") and told else lines[0]
    number = getattr(error, "errno", None)
    name = errno.errorcode.get(number, "") if isinstance(number, int) else ""
    return f"{text} ({name})" if name and name not in text else text
