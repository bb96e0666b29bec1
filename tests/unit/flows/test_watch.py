"""A run ends with its server, with the server's sentence and not with Prefect's silence."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from flows.watch import ServerLostError, ServerWatch


class Server:
    """Is lost when told so."""

    def __init__(self):
        self.is_lost = threading.Event()

    def wait_for_end(self, is_over):
        while not is_over.wait(0.01):
            if self.is_lost.is_set():
                return "the server is gone"
        return None

    def run(self, body):
        """Be watched in the body."""
        with ServerWatch(self.wait_for_end).guard():
            body()

    def lose(self):
        self.is_lost.set()
        time.sleep(60)


@pytest.fixture
def server():
    return Server()


def test_body_is_interrupted_at_once(server):
    start = time.monotonic()
    with pytest.raises(ServerLostError, match="the server is gone"):
        server.run(server.lose)
    assert time.monotonic() - start < 10


def test_handlers_of_ordinary_errors_do_not_swallow_it(server):
    def body():
        with contextlib.suppress(Exception):
            server.lose()
        time.sleep(60)

    with pytest.raises(ServerLostError):
        server.run(body)


def test_what_the_body_does_to_end_is_not_interrupted(server):
    done = []

    def body():
        try:
            server.lose()
        finally:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.05)
            done.append("saved")

    with pytest.raises(ServerLostError):
        server.run(body)
    assert done == ["saved"]


def test_error_of_prefect_for_want_of_its_server_is_told_as_that(server):
    def body():
        try:
            server.lose()
        except BaseException as error:
            raise ConnectionError("all connection attempts failed") from error

    with pytest.raises(ServerLostError):
        server.run(body)


def test_other_errors_and_the_signal_handler_stay_as_they_are(server):
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(ValueError, match="mine"), ServerWatch(server.wait_for_end).guard():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGUSR1) is before


def test_server_that_ends_with_the_run_is_not_lost(server):
    watch = ServerWatch(server.wait_for_end)
    with watch.guard():
        pass
    server.is_lost.set()
    time.sleep(0.05)
    assert watch.lost is None


DEAF = """
import time
from flows import watch
watch.SAVING_PATIENCE_S = 0.2
with watch.ServerWatch(lambda is_over: is_over.wait(0.5) or "the server is gone").guard():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""


def test_run_that_does_not_end_is_ended():
    ended = subprocess.run(
        [sys.executable, "-c", DEAF], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "error: the server is gone" in ended.stderr
