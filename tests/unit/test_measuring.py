"""The loop over subnets measures each once, in any order, and goes on after a kill."""

from dataclasses import dataclass

import pytest

from ofa_pipeline.compute import SERIAL, LocalExecutor
from ofa_pipeline.measuring import MeasurementLog, measure_all
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stopwatch import Stopwatch


@dataclass(frozen=True)
class Task:
    key: str


TASKS = [Task(key) for key in ("c", "a", "b", "d")]


class Bench:
    """Measures how many were measured before, and may fail at a task."""

    def __init__(self, fail_at=None):
        self.measured = []
        self.fail_at = fail_at

    def __call__(self):
        return self.measure

    def measure(self, task):
        if task.key == self.fail_at:
            raise RuntimeError("killed")
        self.measured.append(task.key)
        return {"name": task.key, "p50_ms": float(len(self.measured))}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scratch" / "rows.jsonl"


def measure(path, bench, *, executor=SERIAL, **options):
    log = MeasurementLog(path, **options)
    return measure_all(TASKS, bench, log=log, executor=executor, label="subnets")


class Backwards:
    """An executor whose results arrive in the opposite order."""

    def run(self, build, items):
        work = build()
        yield from [(item, work(item)) for item in reversed(items)]


@pytest.mark.parametrize("executor", [SERIAL, LocalExecutor(workers=3), Backwards()])
def test_rows_come_in_the_order_of_the_tasks(path, executor):
    rows = measure(path, Bench(), executor=executor)
    assert [row["name"] for row in rows] == [task.key for task in TASKS]


def test_what_was_measured_before_a_failure_is_kept(path):
    with pytest.raises(RuntimeError, match="killed") as caught:
        measure(path, Bench(fail_at="b"))
    assert "working on b" in caught.value.__notes__[0]
    again = Bench()
    rows = measure(path, again)
    assert again.measured == ["b", "d"]
    assert [row["p50_ms"] for row in rows] == [1.0, 2.0, 1.0, 2.0]


def test_a_torn_last_line_is_measured_again_and_swallows_nothing(path):
    measure(path, Bench())
    path.write_bytes(path.read_bytes()[:-9])  # the process was killed while it wrote
    again = Bench()
    measure(path, again)
    assert again.measured == ["d"]
    third = Bench()
    rows = measure(path, third)
    assert third.measured == []
    assert [row["name"] for row in rows] == [task.key for task in TASKS]


def test_a_finished_log_measures_nothing_and_makes_nothing(path):
    measure(path, Bench())
    rows = measure(path, lambda: pytest.fail("a meter was made"))
    assert len(rows) == len(TASKS)


def test_progress_counts_what_an_earlier_run_did(path):
    with pytest.raises(RuntimeError, match="killed"):
        measure(path, Bench(fail_at="d"))
    events = []
    log = MeasurementLog(path, reporter=Reporter(events.append, interval_s=0))
    measure_all(TASKS, Bench(), log=log, executor=SERIAL, label="latency", shown=("p50_ms",))
    [event] = events
    assert (event.label, event.done, event.total) == ("latency", 4, 4)
    assert event.metrics == {"p50_ms": 1.0}


def test_seconds_are_noted_with_each_measurement(path, tmp_path):
    seconds = tmp_path / "seconds.jsonl"
    with Stopwatch(seconds) as stopwatch:
        measure(path, Bench(), stopwatch=stopwatch)
        assert len(seconds.read_text().splitlines()) == len(TASKS)
    with Stopwatch(tmp_path / "other.jsonl") as unaware:
        measure(path, Bench(), stopwatch=unaware)
        assert not unaware.seconds.is_complete  # nobody noted what the rows had cost
