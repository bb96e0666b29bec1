"""What is in flight is told from remains by its owner, or by its silence where it is not seen."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from ofa_pipeline.registry.claims import (
    CLAIM_TAG,
    Claim,
    Patience,
    held_claim,
    is_in_flight,
    look,
    renewed,
    start_of,
    this_machine,
)

DAYS_S = 50 * 24 * 3600.0


@pytest.fixture
def claim():
    with held_claim() as held:
        yield held


@pytest.fixture
def elsewhere(claim):
    return replace(claim, id="other", machine="another host")


def in_flight(claim):
    return is_in_flight({CLAIM_TAG: claim.to_tag()})


def set_clock(monkeypatch, *, by_s):
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() + by_s)


def test_claim_that_this_process_holds_is_in_flight_until_it_is_given_back():
    with held_claim() as claim:
        assert in_flight(claim) is True
    assert in_flight(claim) is False


def test_claim_comes_back_from_its_tag(claim):
    found = Claim.from_tag(claim.to_tag())
    assert replace(found, renewed=0.0) == claim
    assert found.renewed == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"pid": 1}'])
def test_what_is_no_claim_is_none(text):
    assert Claim.from_tag(text) is None


def test_living_process_is_told_from_a_dead_one_and_from_its_successor(claim):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = replace(claim, id="other", pid=process.pid, started=start_of(process.pid))
    assert in_flight(other) is True
    assert in_flight(replace(other, started=other.started - 1)) is False
    process.kill()
    time.sleep(0.05)
    assert in_flight(other) is False  # dead, and not yet waited for
    process.communicate()
    assert in_flight(other) is False


@pytest.mark.parametrize("by_s", [-DAYS_S, DAYS_S])
def test_owner_elsewhere_is_unknown_whatever_the_clocks_show(elsewhere, monkeypatch, by_s):
    tags = {CLAIM_TAG: elsewhere.to_tag()}
    set_clock(monkeypatch, by_s=by_s)
    assert is_in_flight(tags) is None
    assert not Patience().is_at_an_end("a", tags)
    assert not look(tags).has_ended


def test_registration_of_an_earlier_version_has_no_owner():
    assert is_in_flight({}) is None


def test_claim_changes_with_every_renewal_also_where_a_clock_is_set_back(elsewhere, monkeypatch):
    tags = [elsewhere.to_tag()]
    time.sleep(0.01)
    set_clock(monkeypatch, by_s=-0.01)  # the same second once more
    tags += [elsewhere.to_tag() for _ in range(3)]
    assert len(set(tags)) == len(tags)


def test_who_looks_twice_finds_the_silent_and_not_those_who_renew(elsewhere, monkeypatch):
    tags = {CLAIM_TAG: elsewhere.to_tag()}
    first = look(tags, silence_s=0)
    assert (first.has_ended, len(first.note)) == (False, 1)
    tags |= first.note
    later = time.monotonic() + 5
    monkeypatch.setattr(time, "monotonic", lambda: later)
    set_clock(monkeypatch, by_s=-DAYS_S)
    assert not look(tags, silence_s=9).has_ended
    assert look(tags, silence_s=3).has_ended
    assert look(tags, silence_s=3).note == {}
    tags[CLAIM_TAG] = elsewhere.to_tag()
    again = look(tags, silence_s=3)
    assert not again.has_ended
    assert again.note.keys() == first.note.keys()


@pytest.mark.parametrize("text", ["", "3", "[]", '["x", null]', "[1, 2, 3]"])
def test_look_that_cannot_be_read_is_the_first(elsewhere, text):
    tags = {CLAIM_TAG: elsewhere.to_tag()}
    [key] = look(tags).note
    seen = look(tags | {key: text}, silence_s=0)
    assert not seen.has_ended
    assert seen.note


def test_look_after_the_machine_was_started_anew_is_the_first(elsewhere):
    tags = {CLAIM_TAG: elsewhere.to_tag()}
    [(key, text)] = look(tags).note.items()
    sign, since = json.loads(text)
    seen = look(tags | {key: json.dumps([sign, since + 9999])}, silence_s=0)
    assert not seen.has_ended
    assert seen.note


def test_silence_is_measured_by_the_clock_of_who_waits():
    patience = Patience(silence_s=0.05)
    assert not patience.has_ended("a", "1")
    time.sleep(0.06)
    assert not patience.has_ended("a", "2")  # it has been renewed
    assert not patience.has_ended("b", "2")
    time.sleep(0.06)
    assert patience.has_ended("a", "2")


def test_claim_is_renewed_while_the_body_runs_even_after_an_outage():
    times = []

    def renew():
        times.append(1)
        if len(times) == 1:
            raise ConnectionError

    with renewed(renew, every_s=0.01):
        time.sleep(0.1)
    count = len(times)
    time.sleep(0.03)
    assert len(times) == count > 1


def test_machine_is_the_same_for_all_its_processes():
    code = "from ofa_pipeline.registry.claims import this_machine; print(this_machine())"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == this_machine()
    assert start_of(os.getpid()) is not None
