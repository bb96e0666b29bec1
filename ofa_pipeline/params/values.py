"""What sections are made of: their base, and the types of values that several have."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ofa_pipeline.errors import shown, suggest
from ofa_pipeline.explain import NAME_PATTERN
from ofa_pipeline.parts import part_names

Entry = TypeVar("Entry")


def is_text(value: str) -> str:
    """Refuse what no screen, file name or database shows: control characters, lone surrogates."""
    if not value.isprintable():
        raise ValueError(f"must be one line of printable text, got {shown(value)}")
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def is_not_empty(values: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Refuse an empty list, where one that is left out means something else."""
    if not values:
        raise ValueError("must have at least one entry, got []")
    return values


def part_of(folder: str, *, or_else: str | None = None) -> Callable[[str], str]:
    """Return a check that a name is that of a file in a folder of the package.

    Args:
        folder: Relative to the package.
        or_else: Another name that will do.
    """

    def check(name: str) -> str:
        known = (*([or_else] if or_else else ()), *part_names(folder))
        if name not in known:
            raise ValueError(
                f"must be one of {', '.join(known)}, got {shown(name)}.{suggest(name, known)}"
            )
        return name

    return check


# Names become file names, and parts of the registry's names.
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(is_text)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Few = Field(max_length=64)
"""Limit of the number of entries of a list."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """Base of every section: frozen, no unknown names, no silent conversions, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
