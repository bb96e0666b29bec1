import pytest

from ofa_pipeline import progress
from ofa_pipeline.progress import SILENT, Reporter


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def events():
    return []


def test_progress_has_rate_and_time_left(clock, events):
    tracker = Reporter(events.append, interval_s=0.0).track("decode", total=10, unit="images")
    clock.now += 2.0
    tracker.advance(4)
    (event,) = events
    assert (event.label, event.done, event.total, event.unit) == ("decode", 4, 10, "images")
    assert event.rate_per_s == pytest.approx(2.0)
    assert event.seconds_left == pytest.approx(3.0)


def test_events_are_not_more_frequent_than_the_interval(clock, events):
    tracker = Reporter(events.append, interval_s=1.0).track("x", total=100, unit="steps")
    for _ in range(40):
        clock.now += 0.1
        tracker.advance()
    assert 4 <= len(events) <= 5


def test_last_event_is_always_sent(clock, events):
    tracker = Reporter(events.append, interval_s=1e9).track("x", total=3, unit="steps")
    for _ in range(3):
        tracker.advance()
    assert [event.done for event in events] == [1, 3]


def test_skipped_work_counts_as_done_but_not_towards_the_rate(clock, events):
    tracker = Reporter(events.append, interval_s=0.0).track("x", total=100, unit="steps")
    tracker.skip(50)
    clock.now += 1.0
    tracker.advance(10)
    assert events[0].done == 60
    assert events[0].rate_per_s == pytest.approx(10.0)
    assert events[0].seconds_left == pytest.approx(4.0)


def test_metrics_travel_with_the_event(clock, events):
    Reporter(events.append, interval_s=0.0).track("x", total=2, unit="steps").advance(loss=0.5)
    assert events[0].metrics == {"loss": 0.5}


def test_iterate_counts_an_item_when_the_next_is_asked_for(clock, events):
    reporter = Reporter(events.append, interval_s=0.0)
    items = reporter.iterate("abc", "letters", total=3, unit="letters")
    assert next(items) == "a"
    assert events == []
    assert list(items) == ["b", "c"]
    assert [event.done for event in events] == [1, 2, 3]


def test_message_is_an_event_without_a_total(events):
    Reporter(events.append).message("done", accuracy_top1=0.9)
    assert events[0].label == "done"
    assert events[0].total == 0
    assert events[0].metrics == {"accuracy_top1": 0.9}


def test_warning_is_a_message_that_says_so(events):
    Reporter(events.append).warning("odd")
    Reporter(events.append).message("fine")
    assert [(event.label, event.is_warning) for event in events] == [("odd", True), ("fine", False)]


def test_silent_reporter_drops_everything():
    SILENT.message("nobody hears this")
    SILENT.track("x", total=1, unit="steps").advance()
