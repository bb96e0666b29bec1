"""Moments that lie ahead of the clock of this machine: then one of two clocks is wrong."""

from datetime import UTC, datetime, timedelta

CLOCKS_MAY_DIFFER = timedelta(minutes=5)
"""What lies ahead by less says nothing: clocks of two machines are never quite the same."""


def is_ahead(moment: datetime) -> bool:
    """Whether a moment lies ahead of this machine's clock by more than clocks differ."""
    return moment - datetime.now(UTC) > CLOCKS_MAY_DIFFER


def ahead_text(moment: datetime) -> str:
    """Return what is wrong with a moment that lies ahead, and what to do, in words."""
    return (
        f"{moment:%Y-%m-%d %H:%M} UTC lies ahead of the clock of this machine, which shows "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M}: one of two clocks is wrong. Compare it with another "
        "clock (date --utc), and set it"
    )
