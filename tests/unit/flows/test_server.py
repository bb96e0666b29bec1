"""How a server ended is told by its process, its exit and the end of its log."""

import subprocess
import sys
import threading

import pytest

from flows import server as server_module
from flows.server import PrefectServer
from ofa_pipeline.errors import OfaPipelineError


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start another program in place of the server."""
    real = subprocess.Popen
    started = []

    def start(code):
        def popen(_, **options):
            return real([sys.executable, "-c", code], **options)

        monkeypatch.setattr(server_module.subprocess, "Popen", popen)
        started.append(PrefectServer(tmp_path, 9, with_interface=False))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_server_that_fails_shows_the_end_of_its_log(start):
    server = start("for i in range(50): print('line', i)\nraise SystemExit(7)")
    text = server.wait_for_end(threading.Event())
    assert "ended with exit code 7" in text
    assert "http://127.0.0.1:9" in text
    assert "line 49" in text
    assert "line 39" not in text


def test_server_that_is_killed_names_the_signal(start):
    server = start("import os; os.kill(os.getpid(), 9)")
    text = server.wait_for_end(threading.Event())
    assert "was killed by SIGKILL" in text
    assert "server.log is empty" in text


def test_lines_of_the_log_are_cut_to_a_screen(start):
    text = start("print('x' * 100_000)").wait_for_end(threading.Event())
    assert len(text) < 1000


def test_server_that_ends_while_it_starts_is_told_at_once(start):
    with pytest.raises(OfaPipelineError, match=r"exit code 1[\s\S]*address already in use"):
        start("raise SystemExit('address already in use')").wait_until_ready()


def test_end_that_was_to_be_is_no_loss(start):
    is_over = threading.Event()
    is_over.set()
    assert start("pass").wait_for_end(is_over) is None
