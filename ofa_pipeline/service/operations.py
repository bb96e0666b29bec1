"""The interface as a page: what OpenAPI says, without what its usual pages load from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of an operation."""

    name: str
    place: str
    is_required: bool
    description: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a path does with a method."""

    method: str
    path: str
    description: str
    parameters: tuple[Parameter, ...]


def operations_of(document: Mapping[str, Any]) -> list[Operation]:
    """Return the operations of an OpenAPI document, in its order."""
    return [
        Operation(
            method=method.upper(),
            path=path,
            description=values.get("description") or values.get("summary", ""),
            parameters=tuple(_parameter(item) for item in values.get("parameters", ())),
        )
        for path, methods in document["paths"].items()
        for method, values in methods.items()
    ]


def _parameter(values: Mapping[str, Any]) -> Parameter:
    schema = values.get("schema", {})
    kinds = schema.get("anyOf") or [schema]
    words = [word for kind in kinds if (word := _kind(kind)) != "null"]
    return Parameter(
        name=values["name"],
        place=values["in"],
        is_required=values.get("required", False),
        description=values.get("description") or schema.get("description", ""),
        kind=" or ".join(words),
    )


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(str(item) for item in schema["enum"])
    return str(schema.get("type", schema.get("const", "any")))
