"""When a schedule runs: cron expressions and time zones, checked without a scheduler.

The rules are those of the croniter library that Prefect carries; a test compares the two. What
croniter takes and no other cron does (hashed and random fields, the day 0) is refused.
"""

import difflib
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_LENGTH = 200

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LAST = "l"
_SUNDAY = 7
_MAX_STEP = 9999
_SYSTEM_FILES = ("posix/", "right/", "posixrules", "localtime", "Factory")


@dataclass(frozen=True, slots=True)
class _Field:
    """A column of an expression."""

    name: str
    low: int
    high: int
    words: Mapping[str, int] = field(default_factory=dict)
    special: str = ""
    """Pattern of what else may stand there."""


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31, special=r"\?|l"),
    _Field("month", 1, 12, words={word: n for n, word in enumerate(_MONTHS, start=1)}),
    _Field(
        "day of the week",
        0,
        7,
        words={word: n for n, word in enumerate(_WEEKDAYS)},
        special=r"\?|l[0-7]|([0-7]|sun|mon|tue|wed|thu|fri|sat)#[1-5]",
    ),
)
_ALIASES = ("@hourly", "@midnight", "@daily", "@weekly", "@monthly", "@yearly", "@annually")


def check_cron(text: str) -> str:
    """Check a cron expression: minute, hour, day of the month, month, day of the week.

    Prefect takes seconds and years behind them, too. They are refused: a sixth column is mostly a
    slip, and would start a run every second.

    Returns:
        The expression.

    Raises:
        ValueError: If it is no cron expression, or names days that no month has; says which column.
    """
    if text.lower() in _ALIASES:
        return text
    columns = text.lower().split()
    if len(text) > MAX_LENGTH or len(columns) != len(_FIELDS):
        raise ValueError(
            "must have five columns (minute, hour, day of the month, month, day of the week), "
            f'such as "0 3 * * *", or be one of {", ".join(_ALIASES)}; got {len(columns)} columns'
        )
    values = [_values(column, rule) for column, rule in zip(columns, _FIELDS, strict=True)]
    days, months = values[2:4]
    longest = max((_LONGEST[month - 1] for month in months), default=31)
    is_by_day_alone = columns[4] in ("*", "?")
    if is_by_day_alone and days and min(days) > longest:
        raise ValueError(f"day {min(days)} is in none of the months {columns[3]}: it never runs")
    return text


def _values(column: str, rule: _Field) -> set[int]:
    """Return the numbers that a column stands for; none for the last day and suchlike.

    Raises:
        ValueError: If a part of it is not of the column.
    """
    found: set[int] = set()
    if rule.high == _SUNDAY and column.lstrip("0") == str(_SUNDAY):
        raise ValueError(f"{rule.name}: Sunday alone is 0 or sun, got {column}")
    for part in column.split(","):
        if rule.special and re.fullmatch(rule.special, part):
            if part == "?" and column != "?":
                raise ValueError(f"{rule.name}: ? must stand alone, got {column!r}")
            continue
        found |= _range(part, rule)
    return found


def _range(part: str, rule: _Field) -> set[int]:
    match = re.fullmatch(r"(\*|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/([0-9]+))?", part)
    if match is None or match[1] == _LAST or (match[1] == "*" and match[2]):
        raise ValueError(
            f"{rule.name} must be numbers, ranges such as 1-5, steps such as */15 or a list of "
            f"them, got {part!r}"
        )
    step = int(match[3] or 1)
    if not 1 <= step <= _MAX_STEP:
        raise ValueError(f"{rule.name}: the step must be 1 to {_MAX_STEP}, got {part!r}")
    if match[1] == "*":
        return set(range(rule.low, rule.high + 1, step))
    low = _number(match[1], rule)
    high = _number(match[2], rule) if match[2] else (rule.high if match[3] else low)
    if low <= high:
        return set(range(low, high + 1, step))
    return {*range(low, rule.high + 1, step), *range(rule.low, high + 1, step)}


def _number(word: str, rule: _Field) -> int:
    if word in rule.words:
        return rule.words[word]
    if word == _LAST and rule.low == 1 and rule.special:
        return rule.high
    if not word.isdigit() or not rule.low <= int(word) <= rule.high:
        named = f" or {', '.join(rule.words)}" if rule.words else ""
        raise ValueError(f"{rule.name} must be {rule.low} to {rule.high}{named}, got {word}")
    return int(word)


def check_timezone(name: str) -> str:
    """Check that this machine knows a time zone, by its name in the IANA database.

    Returns:
        The name.

    Raises:
        ValueError: If it does not; names what was probably meant.
    """
    if len(name) <= MAX_LENGTH and not name.startswith(_SYSTEM_FILES):
        try:
            zoneinfo.ZoneInfo(name)
        except (ValueError, zoneinfo.ZoneInfoNotFoundError, OSError):
            pass
        else:
            return name
    known = {zone for zone in zoneinfo.available_timezones() if not zone.startswith(_SYSTEM_FILES)}
    if not known:
        raise ValueError("this machine has no time zones. Install them: pip install tzdata")
    raise ValueError(
        "must be a name of the IANA time zone database, such as UTC or Europe/Berlin, got "
        f"{name[:MAX_LENGTH]!r}.{_nearest_zone(name, known)}"
    )


_SHORT_NAMES = {
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "MDT": "America/Denver",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "EDT": "America/New_York",
    "BST": "Europe/London",
    "CEST": "Europe/Berlin",
    "EEST": "Europe/Helsinki",
    "MSK": "Europe/Moscow",
    "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
    "AEST": "Australia/Sydney",
    "Z": "UTC",
}
"""Abbreviations that mean several zones or an offset: only a suggestion."""


def _nearest_zone(name: str, known: set[str]) -> str:
    words = name.strip().casefold().replace(" ", "_")
    meant = [zone for zone in sorted(known) if zone.casefold().rpartition("/")[2] == words]
    meant += [zone for zone in sorted(known) if zone.casefold() == words]
    if name.strip().upper() in _SHORT_NAMES:
        meant = [_SHORT_NAMES[name.strip().upper()]]
    meant = meant or difflib.get_close_matches(name[:MAX_LENGTH], sorted(known), n=2)
    return f" Did you mean {' or '.join(repr(zone) for zone in meant[:2])}?" if meant else ""
