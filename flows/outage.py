"""The user's own Prefect server: whether it answers, and what it means when it does not."""

import re
import threading
import time
from collections.abc import Iterator

import httpx

from flows.settings import Setting
from ofa_pipeline.errors import OfaPipelineError

PATIENCE_S = 60.0
"""How long a server may be away while a run goes on: one that is restarted comes back."""

_POLL_S = 15.0
_TIMEOUT_S = 10.0
_SERVER_ERROR = 500
_OF_PREFECT_S_CLIENT = ("PrefectHTTPStatusError", "ServerDisconnectedError")


class PrefectServerError(OfaPipelineError):
    """The user's Prefect server does not answer."""


def check_server(server: Setting) -> None:
    """Check that a Prefect server answers.

    Raises:
        PrefectServerError: If not; says where its address stands.
    """
    fault = _fault(server.value)
    if fault:
        raise PrefectServerError(
            f"Prefect's server must answer at {masked(server.value)} (PREFECT_API_URL in "
            f"{server.where}), but {fault}. Start it, mend the address, or unset it: then the run "
            "starts a server of its own."
        )


def wait_for_loss(server: Setting, is_over: threading.Event) -> str | None:
    """Wait until a Prefect server has not answered for a minute.

    Returns:
        A sentence that says so; None when the event is set before.
    """
    answered = time.monotonic()
    while not is_over.wait(_POLL_S):
        fault = _fault(server.value)
        if not fault:
            answered = time.monotonic()
        elif time.monotonic() - answered >= PATIENCE_S:
            return (
                f"Prefect's server {masked(server.value)} (PREFECT_API_URL in {server.where}) has "
                f"not answered for {PATIENCE_S:.0f} s: {fault}. Start it, then run again to go on "
                "from there."
            )
    return None


def as_outage(error: BaseException) -> OfaPipelineError | None:
    """Return an error of Prefect's client as what it is, an outage; None for any other error."""
    for cause in _causes(error):
        if isinstance(cause, OfaPipelineError):
            return None
        if isinstance(cause, httpx.HTTPError) or type(cause).__name__ in _OF_PREFECT_S_CLIENT:
            return PrefectServerError(
                f"Prefect's server did not do what it was asked to: {type(cause).__name__}: "
                f"{masked(str(cause))}. See its log, then run again to go on from there."
            )
        if isinstance(cause, RuntimeError) and "Failed to reach API" in str(cause):
            return PrefectServerError(f"Prefect's server does not answer: {masked(str(cause))}")
    return None


def masked(text: str) -> str:
    """Return a text with the passwords of its addresses masked."""
    return re.sub(r"(?<=://)[^/\s]*@", "***@", text)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _fault(url: str) -> str:
    """Return what is wrong with a server; "" when it answers."""
    try:
        # No secret is sent, and who answers with a certificate of its own answers, too.
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=_TIMEOUT_S, verify=False)  # noqa: S501
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return f"{_reason(error)} ({masked(str(error))})"
    if answer.status_code >= _SERVER_ERROR:
        return f"the answer is {answer.status_code} {answer.reason_phrase}"
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return "an address looks like http://host:4200/api"
    if isinstance(error, httpx.ProxyError):
        return "the proxy refuses"
    if isinstance(error, httpx.TimeoutException):
        return f"nobody answers within {_TIMEOUT_S:.0f} s"
    return "nobody answers"
