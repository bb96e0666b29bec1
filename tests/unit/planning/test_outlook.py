import pytest

from ofa_pipeline.planning import Outlook, outlook

ADDRESSES = ("check", "train", "measure", "report")
BEFORE = {"train": ("check",), "measure": ("train",), "report": ("measure",)}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(outlook.time, "monotonic", lambda: Clock.now)
    return Clock


def follow(**options):
    return Outlook(ADDRESSES, before=BEFORE, **options)


def run_through(run, clock, address, seconds):
    run.ask(address)
    run.start(address)
    clock.now += seconds
    run.end(address)


def test_stages_are_numbered_as_their_turn_comes(clock):
    run = follow()
    run.ask("check")
    run.ask("measure")
    assert (run.position("check"), run.position("measure")) == ("stage 1 of 4", "stage 2 of 4")


def test_a_stage_that_is_asked_for_again_keeps_its_number(clock):
    run = follow()
    run.ask("check")
    run.ask("train")
    run.ask("check")
    assert run.position("check") == "stage 1 of 4"


def test_nothing_is_left_to_say_where_nothing_is_known(clock):
    run = follow()
    run.ask("train")
    run.start("train")
    assert run.seconds_left() is None


def test_what_is_left_is_what_was_expected_of_the_stale_stages(clock):
    run = follow(expected_s={"train": 100, "measure": 50, "report": 5}, stale=["measure", "report"])
    assert run.seconds_left() == pytest.approx(55)


def test_a_stage_that_took_longer_makes_the_others_longer(clock):
    expected = {"train": 1000, "measure": 500, "report": 0}
    run = follow(expected_s=expected, stale=list(expected))
    run_through(run, clock, "train", 2000)
    assert run.seconds_left() == pytest.approx(500 * 2030 / 1030)


def test_a_running_stage_counts_by_what_it_says_itself_the_more_the_longer_it_runs(clock):
    run = follow(expected_s={"train": 100}, stale=["train"])
    run.ask("train")
    run.start("train")
    run.progress("train", 500)
    assert run.seconds_left() == pytest.approx(100)
    clock.now += 150
    assert run.seconds_left() == pytest.approx(500)


def test_what_reads_of_a_stage_that_runs_unexpectedly_is_expected_too(clock):
    run = follow(expected_s={"train": 100, "measure": 50, "report": 5}, stale=[])
    assert run.seconds_left() is None
    run.ask("train")
    run.start("train")
    assert run.seconds_left() == pytest.approx(155)


def test_a_stage_that_is_skipped_is_not_waited_for(clock):
    run = follow(expected_s={"train": 100, "measure": 50}, stale=["train", "measure"])
    run.ask("train")
    run.end("train")
    assert run.seconds_left() == pytest.approx(50)


def test_a_stage_that_is_asked_for_and_has_not_begun_is_still_to_come(clock):
    run = follow(expected_s={"train": 100, "measure": 50}, stale=["train", "measure"])
    run.ask("train")
    assert run.seconds_left() == pytest.approx(150)


def test_expected_seconds_may_come_when_the_run_has_begun(clock):
    run = follow(expected_s={"train": 80}, stale=["train", "measure"])
    assert run.seconds_left() == pytest.approx(80)
    run.expect({"train": 100, "measure": 50})  # what a plan measured stays
    assert run.seconds_left() == pytest.approx(130)


def test_a_run_that_stops_before_a_turn_goes_on(clock):
    run = follow()
    run.end("train")
    run.ask("check")
    assert run.position("check") == "stage 1 of 4"
