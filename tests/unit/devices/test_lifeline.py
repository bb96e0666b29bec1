"""A process ends with the one that started it, even in a call that holds Python's lock."""

import os
import subprocess
import sys

import psutil
import pytest

from ofa_pipeline.exit_codes import EXIT_TERMINATED

HANGS = """
import ctypes, sys
from ofa_pipeline.devices.lifeline import end_when_closed
end_when_closed(int(sys.argv[1]))
print("watched", flush=True)
ctypes.PyDLL(None).sleep(600)  # keeps Python's lock
"""
PARENT = f"""
import os, subprocess, sys
watched, lifeline = os.pipe()
words = [sys.executable, "-c", {HANGS!r}, str(watched)]
child = subprocess.Popen(words, pass_fds=[watched], stdout=subprocess.PIPE)
os.close(watched)
child.stdout.readline()
print(child.pid, flush=True)
input()
"""


def test_process_that_hangs_ends_with_a_parent_that_is_killed():
    words = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.kill()
    parent.communicate()
    try:
        child.wait(timeout=10)
    except psutil.TimeoutExpired:
        child.kill()
        pytest.fail("it hangs on")


def test_process_whose_parent_was_gone_already_ends_at_once():
    watched, lifeline = os.pipe()
    os.close(lifeline)
    words = [sys.executable, "-c", HANGS, str(watched)]
    with os.fdopen(watched):
        ended = subprocess.run(words, pass_fds=[watched], check=False, timeout=60)
    assert ended.returncode == EXIT_TERMINATED
