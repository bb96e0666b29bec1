"""What pydantic finds wrong, in words that fit a screen."""

from datetime import date
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ofa_pipeline.errors import shorten, shown, suggest

MAX_ERRORS = 10
_MAX_MESSAGE = 300


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return what is wrong with values: the first ten faults, how many more there are.

    Args:
        error: What the model raised.
        model: The model, whose names are suggested for unknown ones where it forbids those.
    """
    # The whole list can be long, the values in it longer: neither is copied into the text.
    found = error.errors(include_url=False, include_context=False)
    lines = [_explain(item, model) for item in found[:MAX_ERRORS]]
    more = len(found) - MAX_ERRORS
    return "; ".join([*lines, f"and {more:,} more"] if more > 0 else lines)


def _explain(item: Any, model: type[BaseModel] | None) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    where = ".".join(shorten(str(part)) for part in item["loc"]) or "the file"
    if item["type"] == "extra_forbidden" and model:
        known = _known_names(item["loc"][:-1], model)
        return f"unknown name {where}.{suggest(str(item['loc'][-1]), known)}"
    if item["type"] == "missing":
        return f"{where} is missing"
    message = shorten(item["msg"].removeprefix("Value error, "), _MAX_MESSAGE)
    if item["type"] == "value_error":
        return f"{where}: {message}"
    hint = ""
    if item["type"] == "string_type" and isinstance(item["input"], int | float | date):
        hint = " (in quotes it is a text)"
    return f"{where}: {message}, got {shown(item['input'])}{hint}"


def _known_names(path: tuple[str | int, ...], root: type[BaseModel]) -> list[str]:
    """Return the names that the section at `path` may hold."""
    model = root
    in_mapping: type[BaseModel] | None = None
    for part in path:
        if in_mapping is not None:
            model, in_mapping = in_mapping, None
            continue
        annotation = model.model_fields[str(part)].annotation
        arguments = get_args(annotation)
        if get_origin(annotation) is dict:
            in_mapping = arguments[1]
            continue
        for kind in (annotation, *arguments):  # of a section that may be left out, beside None
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return list(model.model_fields)
