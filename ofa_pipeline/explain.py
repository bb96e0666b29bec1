"""What pydantic finds wrong, in words that fit a screen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ofa_pipeline.errors import shorten, shown, suggest

MAX_ERRORS = 10
_MAX_MESSAGE = 300
_MAX_OWN_MESSAGE = 700
"""Of messages of our own, whose values are short already."""
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"
"""Of what becomes the name of a file and a part of the registry's names."""
_WORDS = {
    "tuple_type": "Input should be a list, such as [1, 2]",
    "list_type": "Input should be a list, such as [1, 2]",
    "dict_type": "Input should be a mapping of names to values",
    "model_type": "Input should be a mapping of names to values",
    "model_attributes_type": "Input should be a mapping of names to values",
    "bool_type": "Input should be true or false",
    "int_type": "Input should be a valid integer",
    f"string_pattern_mismatch {NAME_PATTERN}": "a name must be of lower case, digits, - and _, and "
    "begin with a letter or a digit",
}
"""What pydantic says in terms of Python, in those of the file."""


def explain(
    error: ValidationError, model: type[BaseModel] | None = None, *, values: object = None
) -> str:
    """Return what is wrong with values: the first ten faults, how many more there are.

    Args:
        error: What the model raised.
        model: The model, whose names are suggested for unknown ones where it forbids those.
        values: What was checked. With it a fault is where the file has it, and what a value may be
            instead is one sentence where it may be of several types.
    """
    # The whole list can be long, the values in it longer: neither is copied into the text.
    found = error.errors(include_url=False)
    lines = _one_each([_Fault.of(item, model, values) for item in found])
    more = len(lines) - MAX_ERRORS
    shown_lines = lines[:MAX_ERRORS]
    return "; ".join([*shown_lines, f"and {more:,} more"] if more > 0 else shown_lines)


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with one value."""

    where: str
    message: str
    got: str
    """What was found, and a hint; empty where the message says it."""

    @classmethod
    def of(cls, item: Any, model: type[BaseModel] | None, values: object) -> "_Fault":  # noqa: ANN401 - pydantic's ErrorDetails
        location = item["loc"] if values is None else _place(item, values)
        where = ".".join(shorten(str(part)) for part in location)
        if item["type"] == "extra_forbidden" and model:
            known = _known_names(item["loc"][:-1], model)
            hint = suggest(str(item["loc"][-1]), known)
            return cls("", f"unknown name {where or 'the file'}.{hint}", "")
        if item["type"] == "missing":
            return cls("", f"{where or 'the file'} is missing", "")
        if item["type"] == "value_error":
            message = item["msg"].removeprefix("Value error, ")
            return cls(where, shorten(message, _MAX_OWN_MESSAGE), "")
        hint = ""
        if item["type"] == "string_type" and isinstance(item["input"], int | float | date):
            hint = " (in quotes it is a text)"
        pattern = item.get("ctx", {}).get("pattern")
        kind = f"{item['type']} {pattern}" if pattern else item["type"]
        message = _WORDS.get(kind) or shorten(item["msg"], _MAX_MESSAGE)
        if item["type"] in ("too_short", "too_long"):
            message = message.replace("Tuple", "List").replace(" after validation", "")
        got = shown(item["input"]) if values is None else _as_written(item["input"])
        return cls(where or "the file", message, f", got {got}{hint}")


def _one_each(faults: Sequence[_Fault]) -> list[str]:
    """Return a line a fault; what one value could be instead is one line."""
    merged: list[tuple[_Fault, list[str]]] = []
    for fault in faults:
        last, others = merged[-1] if merged else (None, [])
        if last is None or not fault.got or (last.where, last.got) != (fault.where, fault.got):
            merged.append((fault, []))
        elif fault.message not in (last.message, *others):
            others.append(fault.message)
    lines = []
    for fault, others in merged:
        place = f"{fault.where}: " if fault.where else ""
        instead = ", or ".join(other.removeprefix("Input should ") for other in others)
        lines.append(f"{place}{fault.message}{fault.got}{f' (or {instead})' * bool(others)}")
    return lines


def _place(item: Any, values: object) -> tuple[str | int, ...]:  # noqa: ANN401 - pydantic's ErrorDetails
    """Return where a fault is in the values; pydantic names the types that it tried, too."""
    found: list[str | int] = []
    current = values
    for number, part in enumerate(item["loc"], 1):
        is_last_name = number == len(item["loc"]) and item["type"] in ("missing", "extra_forbidden")
        is_item = isinstance(part, int) and isinstance(current, list | tuple)
        if isinstance(current, Mapping) and part in current:
            current = current[part]
        elif is_item and 0 <= int(part) < len(current):  # type: ignore[arg-type]
            current = current[part]  # type: ignore[index]
        elif not is_last_name:
            continue
        found.append(part)
    return tuple(found)


def _as_written(value: object) -> str:
    """Return a value as the file has it, never long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return shown(list(value))
    return shown(value)


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
