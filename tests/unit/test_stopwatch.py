"""Seconds add up over runs, and a sum that lacks something says so."""

import time

import pytest

from ofa_pipeline.stopwatch import Seconds, Stopwatch


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scratch" / "seconds.jsonl"


@pytest.fixture
def clock(monkeypatch):
    """Both clocks, set by hand: two CPUs are busy."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(time, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(time, "process_time", lambda: 2 * Clock.now)
    return Clock


def test_a_block_is_counted_and_what_is_outside_is_not(clock):
    stopwatch = Stopwatch()
    clock.now += 5
    with stopwatch:
        clock.now += 3
    clock.now += 7
    assert (stopwatch.seconds.cpu_s, stopwatch.seconds.wall_s) == (6, 3)
    with stopwatch:
        clock.now += 1
    assert stopwatch.seconds.wall_s == 4


def test_a_run_that_ended_in_an_error_is_added_whole(clock, path):
    def fail():
        with Stopwatch(path) as stopwatch:
            clock.now += 2
            stopwatch.note()
            clock.now += 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with Stopwatch(path) as stopwatch:
        stopwatch.expect_earlier()
        clock.now += 4
    assert stopwatch.seconds.wall_s == 7
    assert stopwatch.seconds.is_complete


def test_a_run_that_was_killed_is_added_up_to_its_last_note_and_the_sum_is_not_complete(
    clock, path
):
    killed = Stopwatch(path)
    killed.__enter__()
    clock.now += 2
    killed.note()
    clock.now += 60  # never noted
    with Stopwatch(path) as stopwatch:
        clock.now += 4
    assert stopwatch.seconds.wall_s == 6
    assert not stopwatch.seconds.is_complete


def test_work_of_which_nobody_noted_the_time_makes_the_sum_incomplete(clock, path):
    with Stopwatch(path) as stopwatch:
        stopwatch.expect_earlier()
        clock.now += 4
    assert not stopwatch.seconds.is_complete
    with Stopwatch(path) as again:
        pass
    assert again.seconds == stopwatch.seconds


def test_a_sum_lacks_what_a_part_lacks():
    whole = Seconds(cpu_s=1, wall_s=2)
    part = Seconds(cpu_s=3, wall_s=4, is_complete=False, on_cuda=True)
    assert whole + part == Seconds(cpu_s=4, wall_s=6, is_complete=False, on_cuda=True)
    assert Seconds.from_dict(part.to_dict()) == part
