"""What all routes have in common: HEAD beside GET, and the form of a refusal."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ofa_pipeline.errors import shown

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class ErrorAnswer(BaseModel):
    """Why a request has no answer."""

    kind: str
    """For programs: not_found, infeasible, invalid, refused, no_token, unknown_host or
    registry_unreadable."""
    message: str
    """For people: what must hold, what was found, what to do."""


REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "Not there, or refused: kind and reason."},
    "503": {"model": ErrorAnswer, "description": "The registry cannot be read."},
}
"""What look-ups answer beside what was asked for, as OpenAPI has it."""


def reads(
    router: APIRouter,
    path: str,
    *,
    response_model: type[BaseModel] | None = None,
    response_class: type[Response] = JSONResponse,
) -> Callable[[Endpoint], Endpoint]:
    """Return what makes a function the answer to GET, and to HEAD without the body."""

    def add(endpoint: Endpoint) -> Endpoint:
        for method, is_described in (("GET", True), ("HEAD", False)):
            router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_model=response_model,
                response_class=response_class,
                include_in_schema=is_described,
            )
        return endpoint

    return add


def asks_nothing(request: Request) -> None:
    """Refuse parameters where none is read.

    Raises:
        HTTPException: 422 with their names.
    """
    if request.query_params:
        names = shown(", ".join(sorted(set(request.query_params))))
        raise HTTPException(422, f"this address takes no parameters, got {names}. See /docs.")
