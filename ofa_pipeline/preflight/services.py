"""The servers that a run talks to: their addresses are right, and somebody answers there."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPException
from urllib.parse import urlsplit

from ofa_pipeline.compute import check_cluster
from ofa_pipeline.errors import OfaPipelineError, shorten
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.preflight.findings import Finding, Subject
from ofa_pipeline.registry import check_reachable, tracking_uri

PREFECT_VARIABLE = "PREFECT_API_URL"
TIMEOUT_S = 5.0

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def look_at_registry(subject: Subject) -> Iterator[Finding]:
    """Look whether the registry's server or database answers; its content is looked at later.

    Raises:
        RegistryError: If it does not.
    """
    uri = tracking_uri(subject.root)
    check_reachable(uri)
    yield Finding("registry", mask_secrets(uri))


def look_at_cluster(subject: Subject) -> Iterator[Finding]:
    """Look whether the Ray cluster that subnets are computed on can be used, if one is named.

    Raises:
        ClusterError: If it cannot.
    """
    params = subject.params
    settings = params.compute.fan_out
    if settings.executor == "local":
        if unused := sorted(settings.model_fields_set - {"executor"}):
            yield Finding(
                "cluster",
                f"{' and '.join(unused)} of compute.fan_out have no effect with executor: local: "
                "set executor: ray to compute on a cluster, or leave them out",
                "doubtful",
            )
        return
    workers = check_cluster(
        address=settings.address,
        gpus_per_worker=settings.gpus_per_worker,
        threads=max(params.evaluation.threads, params.training.threads),
        folder=subject.root.resolve(),
    )
    yield Finding(
        "cluster", f"Ray at {settings.address}, room for {workers} worker{'s'[: workers != 1]}"
    )


def look_at_prefect(subject: Subject) -> Iterator[Finding]:  # noqa: ARG001 - as the others
    """Look whether the Prefect server of the environment answers.

    Raises:
        OfaPipelineError: If it does not.
    """
    url = check_prefect(os.environ)
    yield Finding(
        "Prefect", url or "a server or a profile of your own is not named: one is started"
    )


def check_prefect(environment: Mapping[str, str]) -> str | None:
    """Check that the Prefect server that the environment names answers.

    Returns:
        Its address, without a password; None where none is named.

    Raises:
        OfaPipelineError: If nobody answers, or the address is not valid.
    """
    url = environment.get(PREFECT_VARIABLE, "").strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise OfaPipelineError(
            f"{PREFECT_VARIABLE} must be an address such as http://127.0.0.1:4200/api, got "
            f"{shorten(url.rpartition('@')[2])!r}. Correct it, or unset it to have a server of "
            "the workspace's own."
        )
    shown_url = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
    try:
        _ask(f"{shown_url.rstrip('/')}/health", host)
    except (OSError, HTTPException, ValueError) as error:
        is_answer = isinstance(error, urllib.error.HTTPError)
        reason = error if is_answer else getattr(error, "reason", None) or error
        raise OfaPipelineError(
            f"Prefect's server must answer at {shown_url} ({PREFECT_VARIABLE}), but: "
            f"{shorten(str(reason), 200)}. Start it, correct the address, or unset it to have a "
            "server of the workspace's own."
        ) from error
    return shown_url


def _ask(url: str, host: str) -> None:
    # A server on this machine is not behind a proxy.
    proxies = [urllib.request.ProxyHandler({})] if host in _LOOPBACK else []
    opener = urllib.request.build_opener(*proxies)
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            response.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        # Who wants a password or has no /health answers all the same.
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
