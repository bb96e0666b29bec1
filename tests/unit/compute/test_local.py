"""Work on this machine: every result with its item, whatever the number of workers."""

import threading
from dataclasses import dataclass

import pytest
import torch
from threadpoolctl import threadpool_limits

from ofa_pipeline.compute import SERIAL, LocalExecutor, compute_device, free_workers, local


@dataclass(frozen=True)
class Number:
    value: int

    @property
    def key(self):
        return f"number {self.value}"


def squares():
    return lambda item: item.value**2


NUMBERS = [Number(value) for value in range(6)]


@pytest.mark.parametrize("executor", [SERIAL, LocalExecutor(workers=3), LocalExecutor()])
def test_every_item_comes_with_its_result(executor):
    assert dict(executor.run(squares, NUMBERS)) == {item: item.value**2 for item in NUMBERS}


@pytest.mark.parametrize("workers", [1, 3])
def test_what_all_items_need_is_made_once(workers):
    made = []

    def build():
        made.append(1)
        return squares()

    list(LocalExecutor(workers=workers).run(build, NUMBERS))
    assert made == [1]


def test_nothing_is_made_for_no_items():
    assert list(SERIAL.run(lambda: pytest.fail("made"), [])) == []


def test_results_arrive_before_all_are_done():
    begun = []
    results = SERIAL.run(lambda: lambda item: begun.append(item) or item, NUMBERS)
    next(results)
    assert begun == NUMBERS[:1]


def test_items_are_worked_on_at_the_same_time():
    meeting = threading.Barrier(3, timeout=30)  # passes only when three are there
    executor = LocalExecutor(workers=3)
    assert len(list(executor.run(lambda: lambda _: meeting.wait(), NUMBERS[:3]))) == 3


def test_finished_items_arrive_while_a_slow_one_goes_on():
    others_arrived = threading.Event()

    def slow(item):
        return item.value or others_arrived.wait(timeout=30)

    arrived = []
    for item, _ in LocalExecutor(workers=2).run(lambda: slow, NUMBERS):
        arrived.append(item)
        if len(arrived) == 5:
            others_arrived.set()
    assert arrived[-1] == NUMBERS[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_keeps_its_kind_and_names_the_item(workers):
    def fail(item):
        if item.value == 4:
            raise ValueError("too large")
        return item.value

    with pytest.raises(ValueError, match="too large") as caught:
        list(LocalExecutor(workers=workers).run(lambda: fail, NUMBERS))
    assert caught.value.__notes__ == ["It happened while working on number 4."]


def test_whoever_stops_early_leaves_the_rest_undone():
    begun = []
    permits = threading.Semaphore(5)

    def wait(item):
        begun.append(item)
        return permits.acquire(timeout=30)

    results = LocalExecutor(workers=2).run(lambda: wait, [Number(value) for value in range(200)])
    next(results)
    release = threading.Timer(0.2, lambda: permits.release(2))  # the two that have begun may end
    release.start()
    results.close()
    release.join()
    assert len(begun) <= 5 + 2 + 2


def test_as_many_items_as_cores_with_the_threads_of_torch_in_each(monkeypatch):
    monkeypatch.setattr(local, "compute_device", lambda: "cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for cores, workers in [(1, 1), (2, 1), (5, 2), (8, 4)]:
        monkeypatch.setattr(local, "usable_cores", lambda cores=cores: cores)
        assert free_workers() == workers


@pytest.mark.parametrize("threads", [1, 3])
def test_workers_compute_with_what_another_library_told_this_thread_alone(threads):
    with threadpool_limits(threads, user_api="openmp"):
        results = LocalExecutor(workers=2).run(lambda: lambda _: torch.get_num_threads(), NUMBERS)
        assert {number for _, number in results} == {threads}


def test_a_cuda_device_works_in_parallel_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(local, "usable_cores", lambda: 64)
    assert compute_device() == "cuda"
    assert free_workers() == 1
