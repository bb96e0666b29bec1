"""The application: routes, and who may ask."""

import base64
import binascii
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request, Response
from fastapi.security.utils import get_authorization_scheme_param
from fastapi.staticfiles import StaticFiles

from ofa_pipeline.registry import Lookups, SubnetRegistry
from ofa_pipeline.service.current import CurrentSnapshot
from ofa_pipeline.service.errors import error_response, explain_errors, range_refusal
from ofa_pipeline.service.health import Meters, health_routes
from ofa_pipeline.service.lookups import lookup_routes
from ofa_pipeline.service.pages import Pages, page_routes
from ofa_pipeline.service.routes import REFUSALS
from ofa_pipeline.service.shelf import Shelf
from ofa_pipeline.service.versions import version_routes
from ofa_pipeline.temporary import temporary_folder

Next = Callable[[Request], Awaitable[Response]]

OPEN_PATHS = ("/healthz",)
"""They need no token: what watches the service has none."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A browser asks again: files with the ETag that it has, everything else anew.
    "Cache-Control": "no-cache",
}


def build_app(
    registry: SubnetRegistry,
    *,
    token: str = "",
    hosts: tuple[str, ...] = (),
) -> FastAPI:
    """Return the service over a registry.

    Args:
        registry: What is looked up; nothing is ever written.
        token: What a request has to show, as a bearer token or as the password of basic
            authentication; empty: everybody may ask.
        hosts: Names that the service may be called by; empty: any.
    """
    current = CurrentSnapshot(registry.snapshot)
    lookups = Lookups(lambda _: current(), home=lambda: None, where="this registry")

    shelf = Shelf(registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with temporary_folder("service") as folder:
            shelf.keep_in(folder)
            yield

    app = FastAPI(
        title="Registry of subnets",
        description="Subnets of once-for-all networks, with what was measured. Read-only.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    meters, pages = Meters(), Pages()
    young = [Depends(current.fresh)]
    app.include_router(lookup_routes(lookups), dependencies=young, responses=REFUSALS)
    app.include_router(version_routes(lookups, shelf), dependencies=young, responses=REFUSALS)
    app.include_router(page_routes(pages, lookups, current, shelf), dependencies=young)
    app.include_router(health_routes(current, meters))
    static = resources.files("ofa_pipeline.service") / "static"
    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    explain_errors(app, pages)
    _guard(app, meters, token=token, hosts=hosts)
    return app


def _guard(app: FastAPI, meters: Meters, *, token: str, hosts: tuple[str, ...]) -> None:
    """Let in who may ask, and count."""

    @app.middleware("http")
    async def guard(request: Request, call_next: Next) -> Response:
        begun = time.perf_counter()
        refused = _refusal(request, token=token, hosts=hosts)
        response = refused if refused is not None else await call_next(request)
        response = range_refusal(request, response) or response
        response.headers.update(HEADERS)
        route = getattr(request.scope.get("route"), "path", "other")
        meters.count(route, response.status_code, time.perf_counter() - begun)
        return response


def _refusal(request: Request, *, token: str, hosts: tuple[str, ...]) -> Response | None:
    """Return why a request is not answered; None when it is."""
    host = _host(request)
    if hosts and host not in hosts:
        return error_response(
            403,
            "unknown_host",
            f"this service does not answer to the name {host[:100]!r}. Call it by one of "
            f"{', '.join(hosts)}, or start it with --allow-host.",
        )
    if token and request.url.path not in OPEN_PATHS and not _shows(request, token):
        answer = error_response(
            401,
            "no_token",
            "this service asks for a token: send it as `Authorization: Bearer TOKEN`, or as the "
            "password of basic authentication.",
        )
        answer.headers["WWW-Authenticate"] = 'Basic realm="registry of subnets"'
        return answer
    return None


def _host(request: Request) -> str:
    """Return the name that a request calls the service by, without the port."""
    given = request.headers.get("host", "")
    try:
        return urlsplit(f"//{given}").hostname or ""
    except ValueError:  # no name: half a bracket, for instance
        return given


def _shows(request: Request, token: str) -> bool:
    """Tell whether a request shows the token; the time that takes tells nothing."""
    scheme, given = get_authorization_scheme_param(request.headers.get("authorization"))
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return secrets.compare_digest(given.encode(), token.encode())
