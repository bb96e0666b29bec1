"""What a request may ask: parameters that nothing reads are refused, not passed over."""

from collections import Counter
from typing import Annotated

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from ofa_pipeline.documents import Quantile
from ofa_pipeline.errors import RegistryError, shown
from ofa_pipeline.registry import Proof, Question

MAX_ROWS = 1000
"""Subnets of a page of the list."""
MAX_COMPARED = 20
SEVERAL = "version"
"""The one parameter that is a list."""

Name = Annotated[str, Field(max_length=300)]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def given_once(request: Request) -> None:
    """Refuse a parameter that is given several times: which one is meant nobody could tell.

    Raises:
        HTTPException: 422 with its name.
    """
    given = Counter(key for key, _ in request.query_params.multi_items())
    for name, count in given.items():
        if count > 1 and name != SEVERAL:
            raise HTTPException(422, f"{shown(name)} must be given once, got it {count} times.")


class FrontQuery(_Query):
    """A device and a dataset."""

    device: Name
    """Name of a device card."""
    quantile: Quantile = "p50"
    """The median of the calls, or what 95 of 100 take at most."""
    dataset: Name | None = None
    """A name, the beginning of a digest, or any: the only one that is registered."""

    def question(self) -> Question:
        """Return what is asked.

        Raises:
            HTTPException: 422 with the reason, if nothing could answer it.
        """
        try:
            return Question(**self.model_dump())
        except RegistryError as error:
            raise HTTPException(422, str(error)) from error


class BestQuery(FrontQuery):
    """The bounds that a subnet has to meet."""

    max_latency_ms: float | None = None
    """Upper bound of the measured latency of a call."""
    verdict: Proof | None = None
    """within: the whole 95 % confidence interval must be within the latency."""
    min_accuracy: float | None = None
    """Lower bound of top-1 on test images, a fraction."""
    max_size_bytes: float | None = None
    """Upper bound of the size of the file that runs."""


class CompareQuery(_Query):
    """Versions."""

    version: Annotated[list[Name], Field(min_length=2, max_length=MAX_COMPARED)]
    """models:/NAME/VERSION, two or more times."""


class ListQuery(_Query):
    """A page of a list."""

    device: Name | None = None
    """Only what was measured on it."""
    dataset: Name | None = None
    """A name or the beginning of a digest; everything without it."""
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 100
    offset: Annotated[int, Field(ge=0, le=10**9)] = 0
