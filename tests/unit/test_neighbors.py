"""Who else computes on this machine, for whom a measurement failed."""

import subprocess
import sys

import psutil
import pytest

from ofa_pipeline.neighbors import Neighbor, busy_neighbors, neighbors_text

SPIN = "print(1, flush=True)\nwhile True: pass"
STARTS_ANOTHER = f"""
import subprocess, sys
words = [sys.executable, "-c", {SPIN!r}]
print(subprocess.Popen(words, stdout=subprocess.DEVNULL).pid)
"""


@pytest.fixture
def stranger():
    """A process that computes and that nobody of ours has started: its parent has ended."""
    words = [sys.executable, "-c", STARTS_ANOTHER]
    started = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=30)
    process = psutil.Process(int(started.stdout.split()[0]))
    yield process
    process.kill()


def test_who_computes_is_found_and_the_own_children_are_not(stranger):
    own = subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE)
    try:
        own.stdout.readline()
        found = {item.pid: item for item in busy_neighbors(watch_s=0.5)}
    finally:
        own.kill()
        own.communicate()
    assert stranger.pid in found
    assert own.pid not in found
    assert found[stranger.pid].name == stranger.name()


def test_busiest_are_named_and_the_others_counted():
    text = neighbors_text([Neighbor(pid, "train", 1.0) for pid in range(1, 6)])
    assert text.startswith("Here compute train (process 1, 1.0 cores), train (process 2")
    assert "and 2 more" in text
    assert "ps -fp 1 2 3" in text
    assert "4" not in text.partition("ps -fp")[2]


def test_nobody_is_said_to_be_nobody():
    assert "No other process" in neighbors_text([])
