"""Texts that may be shown: passwords, tokens and keys in them are replaced by `MASK`.

Messages come from many programs (MLflow, SQLAlchemy, drivers of databases, Prefect, DVC), and each
shows addresses in its own way. So two things are masked: what looks like a secret by its place in
a text, and the secrets of the environment, wherever they stand.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import unquote

MASK = "***"

_NAME = (
    r"[\w.-]*(?:passwor[dt]|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?"
    r"|account[_-]?key|auth[_-]?string|signature|credential|sas)"
)
_USERINFO = re.compile(
    # scheme://user:password@host; a password may hold "@". A port is none: host:5000/x@y stays.
    r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s:/@?#'\"<>]*):(?!\d{1,5}[/?#])"
    r"(?:[^\s/?#'\"<>]*|[^\s'\"<>]*)@(?=[\w\[.-]*)",
    re.IGNORECASE,
)
_BARE_USERINFO = re.compile(r"(?<![\w/.-])(?P<head>[\w.-]+):[^\s/@:'\"]+@(?=[\w\[])")
_ASSIGNED = re.compile(
    # password=..., "password": "...", ?sslpassword=..., X-Amz-Signature=..., password='two words'
    rf"(?P<head>(?<![\w-]){_NAME}(?P<quote>['\"]?)(?:\s?=\s?|:\s?(?=['\"])|(?<=['\"]):\s?))"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s&;,'\"<>)\]}]+)",
    re.IGNORECASE,
)
_PASSWORD_LINE = re.compile(r"(?P<head>\b(?:password|passwd|pwd): )\S+", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"(?P<head>\b(?:Basic|Bearer)\s+)[A-Za-z0-9+/=._~-]{6,}")

_VARIABLES_WITH_ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL")
_VARIABLE_NAME = re.compile(
    # At the end of the name: TOKENIZERS_PARALLELISM and ..._TOKEN_FILE hold none.
    r"(?:PASSWORD|PASSWD|SECRET|SECRET_KEY|TOKEN|API_KEY|ACCESS_KEY|AUTH_STRING"
    r"|CONNECTION_STRING)$"
)
_SWITCHES = {"true", "false", "yes", "no", "on", "off", "0", "1"}


def mask_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text without the passwords, tokens and keys that it shows.

    Args:
        text: A message, an address, or the end of a log.
        environment: Whose secrets are looked for; by default the process's.
    """
    for secret in _secrets(os.environ if environment is None else environment):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    text = _USERINFO.sub(rf"\g<head>:{MASK}@", text)
    text = _BARE_USERINFO.sub(rf"\g<head>:{MASK}@", text)
    text = _ASSIGNED.sub(rf"\g<head>{MASK}", text)
    text = _PASSWORD_LINE.sub(rf"\g<head>{MASK}", text)
    return _AUTHORIZATION.sub(rf"\g<head>{MASK}", text)


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets that the environment holds, as written and decoded, longest first."""
    found = set()
    for name, value in environment.items():
        if _VARIABLE_NAME.search(name) and value.strip().lower() not in _SWITCHES:
            found.add(value.strip())
        elif name in _VARIABLES_WITH_ADDRESSES:
            found |= set(_passwords_in(value))
    found |= {unquote(secret) for secret in found}
    yield from sorted((secret for secret in found if secret), key=len, reverse=True)


def _passwords_in(address: str) -> Iterator[str]:
    userinfo = address.partition("://")[2].rpartition("@")[0]
    if ":" in userinfo:
        yield userinfo.partition(":")[2]
    for part in re.split(r"[?&;]", address):
        name, _, value = part.partition("=")
        if value and re.fullmatch(_NAME, name, re.IGNORECASE):
            yield value


def mask_logs() -> None:
    """Mask passwords in everything that this process logs, tracebacks included.

    Tools log what they were given, and Prefect files the traceback of a failed run, in which the
    words of MLflow and of drivers stand.
    """
    before = logging.getLogRecordFactory()
    if isinstance(before, _Masked):
        return
    logging.setLogRecordFactory(_Masked(before))


class _Masked:
    """Makes records of a log without secrets."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: object, **named: object) -> logging.LogRecord:
        record = self._make(*args, **named)
        with suppress(
            TypeError, ValueError
        ):  # a text that does not fit its values: logging says so
            text = record.getMessage()
            masked = mask_secrets(text)
            if masked != text:
                record.msg, record.args = masked, ()
        if record.exc_info:
            # A formatter takes this text where it is there.
            record.exc_text = mask_secrets(logging.Formatter().formatException(record.exc_info))
        return record
