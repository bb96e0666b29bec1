"""A search space as a value of a document."""

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from ofa_pipeline.arch import SearchSpace


def _space(values: Any) -> SearchSpace:  # noqa: ANN401 - whatever the file holds
    return values if isinstance(values, SearchSpace) else SearchSpace.from_dict(values)


Space = Annotated[
    SearchSpace,
    PlainValidator(_space),
    PlainSerializer(SearchSpace.to_dict),
    WithJsonSchema({"type": "object", "description": "See `SearchSpace.to_dict`."}),
]
"""A search space, in a file as `SearchSpace.to_dict` returns it."""
