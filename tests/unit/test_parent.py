"""A process ends with the one that it works for, also when that is killed."""

import os
import signal
import subprocess
import sys
import threading

import psutil

from ofa_pipeline.exit_codes import EXIT_TERMINATED
from ofa_pipeline.parent import end_with_runner

CHILD = """
import os, signal, sys, time
from ofa_pipeline.parent import end_with_parent, end_with_runner
if sys.argv[1] == "runner":
    end_with_runner()
elif sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent(os.getppid(), grace_s=0.1)
else:
    end_with_parent(int(sys.argv[1]))
print("watching", flush=True)
time.sleep(250)
"""

# Starts the child, says its process id, and waits to be killed.
PARENT = """
import os, subprocess, sys
word = sys.argv[2] or str(os.getpid())
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], word], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def child_of_a_killed_parent(word: str, **environment: str) -> psutil.Process:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, word],
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    return child


def test_child_ends_with_its_parent():
    child_of_a_killed_parent("").wait(timeout=60)


def test_child_that_is_deaf_to_the_signal_ends_all_the_same():
    child_of_a_killed_parent("deaf").wait(timeout=60)


def test_stage_ends_with_its_dvc():
    child_of_a_killed_parent("runner", DVC_STAGE="search").wait(timeout=60)


def test_parent_that_has_died_meanwhile_is_noticed_at_once():
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, "1"], capture_output=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (EXIT_TERMINATED, b"")


def test_stage_that_somebody_started_watches_nobody(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    before = threading.active_count()
    end_with_runner()
    assert threading.active_count() == before
