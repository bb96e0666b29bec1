"""Errors that say why: for programs as JSON, for people as a page."""

import re
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ofa_pipeline.errors import InfeasibleConstraintError, OfaPipelineError, RegistryError, shown
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.service.current import UnreadableRegistryError
from ofa_pipeline.service.pages import PAGES, Pages

_UNSATISFIABLE = 416
_FOR_PROGRAMS = ("/v1/", "/static/", "/healthz", "/metrics", "/openapi.json")
"""Beginnings of the addresses that are never asked for a page."""

_TERMS = (
    (
        re.compile(r" \(--dataset NAME, or dataset= in Python\), or ask from a workspace[^.]*"),
        ": dataset=NAME",
    ),
    (re.compile(r"ofa-pipeline subnets --dataset any\b"), "/v1/subnets"),
    (re.compile(r"--([a-z]+) (?=NAME|any)"), r"\1="),
)
"""What look-ups suggest to who asks by a command, and how a request says it."""

_OURS: dict[type[OfaPipelineError], tuple[int, str]] = {
    InfeasibleConstraintError: (404, "infeasible"),
    UnreadableRegistryError: (503, "registry_unreadable"),
    RegistryError: (404, "not_found"),
    OfaPipelineError: (409, "refused"),
}
"""Status and kind of each error; the first that it is."""


def explain_errors(app: FastAPI, pages: Pages) -> None:
    """Give every error one form: its kind, and a reason that helps."""

    def answer(request: Request, status: int, kind: str, message: str) -> Response:
        if _wants_a_page(request):
            return pages.page(
                "refused",
                status=status,
                title="Not found" if status == HTTPStatus.NOT_FOUND else "Refused",
                reason=mask_secrets(message),
            )
        return error_response(status, kind, message)

    @app.exception_handler(OfaPipelineError)
    async def ours(request: Request, error: OfaPipelineError) -> Response:
        status, kind = next(found for of, found in _OURS.items() if isinstance(error, of))
        return answer(request, status, kind, in_terms_of_requests(str(error)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        reasons = [
            f"{'.'.join(str(part) for part in item['loc'][1:]) or 'the request'}: {item['msg']}"
            for item in error.errors()
        ]
        return answer(request, 422, "invalid", "; ".join(reasons))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        response = answer(request, error.status_code, "refused", _reason(request, error))
        response.headers.update(error.headers or {})
        if response.headers.get("allow") == "GET":
            response.headers["Allow"] = "GET, HEAD"
        return response


def in_terms_of_requests(message: str) -> str:
    """Return the message of a look-up with parameters in the place of a command's options."""
    for pattern, text in _TERMS:
        message = pattern.sub(text, message)
    return message


def error_response(status: int, kind: str, message: str) -> JSONResponse:
    """Return an error as programs read it, without secrets."""
    return JSONResponse({"kind": kind, "message": mask_secrets(message)}, status_code=status)


def range_refusal(request: Request, response: Response) -> Response | None:
    """Return the refusal of a range with its reason; None for other responses.

    The framework refuses ranges itself, in a form of its own.
    """
    is_refusal = response.status_code in (HTTPStatus.BAD_REQUEST, _UNSATISFIABLE)
    if not is_refusal or "range" not in request.headers:
        return None
    answer = error_response(
        response.status_code,
        "refused",
        "Range must read bytes=FIRST-LAST and begin within the file, got "
        f"{shown(request.headers['range'])}.",
    )
    if "content-range" in response.headers:
        answer.headers["Content-Range"] = response.headers["content-range"]
    return answer


def _wants_a_page(request: Request) -> bool:
    """Whether a page was asked for; of an unknown address, whether a browser asks."""
    path = request.url.path
    if path == "/" or path.startswith(PAGES):
        return True
    return not path.startswith(_FOR_PROGRAMS) and "text/html" in request.headers.get("accept", "")


def _reason(request: Request, error: HTTPException) -> str:
    """Return why; where no route of ours was met, the framework gives no reason."""
    if error.detail != HTTPStatus(error.status_code).phrase:
        return error.detail
    path = shown(request.url.path)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "GET")
        return (
            f"{request.method} does nothing at {path}, {allowed} does: this service only reads. "
            "See /docs."
        )
    return f"nothing is at {path}. See /docs."
