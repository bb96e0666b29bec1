"""The snapshot that answers: how old it may be, and what happens when the registry is gone."""

import asyncio
import time
from threading import Event

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import Snapshot
from ofa_pipeline.service import CurrentSnapshot


def test_answer_that_nobody_asked_for_in_a_while_is_of_now():
    read = []

    def count():
        read.append(Snapshot(()))
        return read[-1]

    current = CurrentSnapshot(count)
    for number in range(1, 4):
        asyncio.run(current.fresh())
        assert len(read) == number
        assert current() is read[-1]
        current._ended_at -= 60  # a minute without a question
    asyncio.run(current.fresh())
    asyncio.run(current.fresh())  # at once: young enough
    assert len(read) == 4


def test_slow_registry_delays_an_answer_for_a_moment_only(monkeypatch):
    monkeypatch.setattr("ofa_pipeline.service.current.WAIT_S", 0.2)
    release, read = Event(), [Snapshot(())]

    def slow():
        if len(read) > 1:
            release.wait(30)
        read.append(Snapshot(()))
        return read[-1]

    current = CurrentSnapshot(slow)
    asyncio.run(current.fresh())
    first = current()
    current._ended_at -= 60
    begun = time.monotonic()
    asyncio.run(current.fresh())
    assert 0.2 <= time.monotonic() - begun < 5
    assert current() is first
    assert not current.is_stale
    current._read_at -= 60
    assert current.is_stale  # though nothing has failed yet
    begun = time.monotonic()
    asyncio.run(current.fresh())  # the same reading: it was waited for before
    assert time.monotonic() - begun < 0.15
    release.set()


def test_age_is_that_of_the_answers_also_while_the_registry_is_gone():
    read = [Snapshot(()), RegistryError("gone"), RegistryError("gone")]

    def next_one():
        found = read.pop(0)
        if isinstance(found, RegistryError):
            raise found
        return found

    current = CurrentSnapshot(next_one)
    assert current.age_s == float("inf")
    asyncio.run(current.fresh())
    current._ended_at -= 60
    current._read_at -= 60
    asyncio.run(current.fresh())
    assert (current.fault, current.age_s > 59) == ("gone", True)


def test_registry_that_goes_away_leaves_the_last_answers():
    read = [Snapshot(()), RegistryError("gone")]
    asked = Event()

    def next_one():
        found = read.pop(0)
        if isinstance(found, RegistryError):
            asked.set()
            raise found
        return found

    current = CurrentSnapshot(next_one, after_s=0.0)
    first = current()
    assert current() is first  # and asks beside
    assert asked.wait(5)
    while not current.fault:
        pass
    assert current.fault == "gone"
