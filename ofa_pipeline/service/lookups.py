"""Routes of the look-ups: the documents that the commands print, over HTTP.

They answer from memory, so they run on the loop itself: a thread would cost more than the answer.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Response

from ofa_pipeline.documents import Document
from ofa_pipeline.documents.answers import (
    ComparisonAnswer,
    ExplanationAnswer,
    FrontAnswer,
    SubnetAnswer,
    SubnetPage,
)
from ofa_pipeline.registry import ANY_DATASET, Lookups, Question, RegisteredSubnet
from ofa_pipeline.registry.answers import (
    comparison_answer,
    explanation_answer,
    front_answer,
    page_answer,
    subnet_answer,
)
from ofa_pipeline.service.queries import (
    BestQuery,
    CompareQuery,
    FrontQuery,
    ListQuery,
    given_once,
)
from ofa_pipeline.service.routes import reads

MAX_KNOWN = 4096


class KnownAnswers:
    """JSON texts of versions, which never change: one is made once."""

    def __init__(self) -> None:
        """Know none yet."""
        self._texts: dict[tuple[str, str], bytes] = {}

    def text(self, subnet: RegisteredSubnet, make: Callable[[RegisteredSubnet], Document]) -> bytes:
        """Return the text of a version."""
        key = (subnet.model_uri, subnet.record.bundle_digest)
        if key not in self._texts:
            if len(self._texts) >= MAX_KNOWN:
                self._texts.clear()
            self._texts[key] = make(subnet).model_dump_json().encode()
        return self._texts[key]


def lookup_routes(lookups: Lookups) -> APIRouter:
    """Return the routes of all look-ups."""
    router = APIRouter(prefix="/v1", tags=["look-ups"], dependencies=[Depends(given_once)])
    known = KnownAnswers()

    @reads(router, "/best", response_model=SubnetAnswer)
    async def best(query: Annotated[BestQuery, Query()]) -> Response:
        """Return the most accurate subnet within the bounds."""
        return json_response(known.text(lookups.choose(query.question()), subnet_answer))

    @reads(router, "/explain", response_model=ExplanationAnswer)
    async def explain(query: Annotated[BestQuery, Query()]) -> Response:
        """Return the best subnet, its runner-up, and what a larger budget would buy."""
        return document(explanation_answer(lookups.explain(query.question())))

    @reads(router, "/front", response_model=FrontAnswer)
    async def front(query: Annotated[FrontQuery, Query()]) -> Response:
        """Return the Pareto front of a device, the fastest first."""
        query.question()
        found = lookups.front(device=query.device, quantile=query.quantile, dataset=query.dataset)
        return document(front_answer(found, device=query.device, quantile=query.quantile))

    @reads(router, "/compare", response_model=ComparisonAnswer)
    async def compare(query: Annotated[CompareQuery, Query()]) -> Response:
        """Return versions side by side, and how they differ from the first."""
        if len(set(query.version)) < len(query.version):
            raise HTTPException(422, "version must be a different one each time, got one twice.")
        return document(comparison_answer(lookups.compare(query.version)))

    @reads(router, "/subnets", response_model=SubnetPage)
    def subnets(query: Annotated[ListQuery, Query()]) -> Response:
        """Return a page of what is registered, ordered by device, then latency."""
        found = lookups.list_subnets(device=query.device, dataset=query.dataset)
        if not found and query.dataset not in (None, ANY_DATASET):
            # It refuses, and says which datasets there are.
            lookups.choose(Question(device=query.device, dataset=query.dataset))
        return document(page_answer(found, limit=query.limit, offset=query.offset))

    return router


def document(answer: Document) -> Response:
    """Return a document as a response."""
    return json_response(answer.model_dump_json().encode())


def json_response(text: bytes) -> Response:
    """Return a JSON text as a response."""
    return Response(text, media_type="application/json")
