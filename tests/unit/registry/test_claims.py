"""What is in flight is told from remains by its owner, and by its age where that cannot be seen."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from ofa_pipeline.registry.claims import (
    CLAIM_TAG,
    TOO_OLD_S,
    Claim,
    Patience,
    held_claim,
    is_in_flight,
    renewed,
    start_of,
    this_machine,
)

NOW = time.time()


@pytest.fixture
def claim():
    with held_claim() as held:
        yield held


def in_flight(claim, since_s=NOW):
    return is_in_flight({CLAIM_TAG: claim.to_tag()}, since_s=since_s)


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


def test_owner_elsewhere_is_unknown_until_it_is_too_old(claim, monkeypatch):
    other = replace(claim, id="other", machine="another host")
    assert in_flight(other) is None
    tag = other.to_tag()
    later = time.time() + TOO_OLD_S + 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert is_in_flight({CLAIM_TAG: tag}, since_s=NOW) is False


def test_registration_of_an_earlier_version_has_only_its_age():
    assert is_in_flight({}, since_s=time.time()) is None
    assert is_in_flight({}, since_s=time.time() - 600) is False


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
