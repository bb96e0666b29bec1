"""Numbers and names as people read them."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from markupsafe import Markup

_FEW = 1_000_000
"""Smaller counts are written out."""
_UNITS = ((3600, "h"), (60, "min"))
"""Units of durations: seconds of one, and its name."""
_SMALL = 10
"""Smaller durations have a decimal."""


def show_percent(share: float, decimals: int = 2) -> str:
    """Return a fraction in per cent, without the sign."""
    return f"{100 * share:.{decimals}f}"


def show_ms(value: float) -> str:
    """Return milliseconds with at least three digits that matter."""
    limits = ((4, 0.1), (3, 10.0), (2, 100.0))
    decimals = next((count for count, limit in limits if value < limit), 1)
    return f"{value:.{decimals}f}"


def show_measured(value: float | None) -> str:
    """Return a figure with three digits that matter, or that nobody measured it."""
    return "not measured" if value is None else f"{value:.3g}"


def show_duration(seconds: float) -> str:
    """Return a duration with two digits that matter: ``4.2 s``, ``12 min``, ``3.4 h``."""
    value, unit = next(
        ((seconds / size, unit) for size, unit in _UNITS if seconds >= 1.5 * size),
        (seconds, "s"),
    )
    return f"{value:.{1 if value < _SMALL else 0}f}\N{NO-BREAK SPACE}{unit}"


def show_count(value: int) -> str:
    """Return a count with commas."""
    return f"{value:,}"


def show_counted(value: int, noun: str, plural: str = "s") -> str:
    """Return a count with its noun, in the plural where it is not one.

    Args:
        value: The count.
        noun: In the singular.
        plural: What it then ends in.
    """
    return f"{show_count(value)} {noun}" + ("" if value == 1 else plural)


def show_moment(iso: str) -> str:
    """Return a moment in UTC as people read it: ``2026-01-31 12:59 UTC``."""
    return f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def show_number(value: float, digits: int = 6) -> str:
    """Return a number without needless zeros."""
    return f"{value:.{digits}g}"


def show_power(value: float) -> str:
    """Return a count; a large one as a power of ten."""
    if value < _FEW:
        return show_count(round(value))
    factor, exponent = f"{value:.1e}".split("e")
    return Markup("{} x 10<sup>{}</sup>").format(factor, int(exponent))


def show_millions(value: float) -> str:
    """Return a count in millions."""
    return f"{value / 1e6:.2f}"


def show_thousands(value: float) -> str:
    """Return a count in thousands."""
    return f"{value / 1e3:.1f}"


def braced(files: Iterable[str]) -> list[str]:
    """Join file names that differ in one part, as a shell writes them.

    ``a/x/c`` and ``a/y/c`` become ``a/{x,y}/c``.
    """
    names = [tuple(file.split("/")) for file in dict.fromkeys(files)]
    for position in reversed(range(max(map(len, names), default=0))):
        groups: dict[tuple[str, ...], list[str]] = {}
        for parts in names:
            key = (*parts[:position], "", *parts[position + 1 :])
            groups.setdefault(key, []).append(parts[position] if position < len(parts) else "")
        names = [
            (*key[:position], _either(found), *key[position + 1 :]) for key, found in groups.items()
        ]
    return ["/".join(part for part in parts if part) for parts in names]


def _either(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else "{" + ",".join(parts) + "}"


FILTERS: Mapping[str, Callable[..., object]] = {
    "braced": braced,
    "count": show_count,
    "counted": show_counted,
    "duration": show_duration,
    "measured": show_measured,
    "median": statistics.median,
    "millions": show_millions,
    "moment": show_moment,
    "ms": show_ms,
    "number": show_number,
    "percent": show_percent,
    "power": show_power,
    "thousands": show_thousands,
}
"""Filters of the page's template."""
