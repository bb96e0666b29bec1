"""The user's own server: checked before work, watched during it, never a fault of the program."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from flows import outage
from flows.outage import PrefectServerError, as_outage, check_server, masked, wait_for_loss
from flows.settings import Setting
from ofa_pipeline.errors import DatasetError


class Handler(BaseHTTPRequestHandler):
    """Answers with the status of its server."""

    def do_GET(self):
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Keep the test's output clean."""


@pytest.fixture
def api():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status = 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def found(server):
    return Setting(f"http://me:secret@127.0.0.1:{server.server_port}/api", "profile 'x'")


@pytest.mark.parametrize("status", [200, 401, 404])
def test_server_that_answers_is_there(api, status):
    api.status = status
    check_server(found(api))


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_that_answers_with_a_fault_is_not(api, status):
    api.status = status
    with pytest.raises(PrefectServerError, match=rf"profile 'x'.*{status}") as caught:
        check_server(found(api))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9/api", "nobody answers"),
        ("http://me:secret@127.0.0.1:9/api", r"\*\*\*@127.0.0.1"),
        ("127.0.0.1:4200/api", "looks like http://host:4200/api"),
        ("http://[::bad/api", "looks like http://host:4200/api"),
        ("nonsense", "looks like http://host:4200/api"),
        ("http://", "looks like http://host:4200/api"),
    ],
)
def test_address_without_a_server_is_told_with_where_it_stands(address, said):
    with pytest.raises(PrefectServerError, match=said) as caught:
        check_server(Setting(address, "the environment"))
    assert "PREFECT_API_URL in the environment" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(outage, "_POLL_S", 0.02)
    monkeypatch.setattr(outage, "PATIENCE_S", 0.2)


def test_server_that_stays_away_is_lost(api, quick):
    api.status = 503
    assert "has not answered" in wait_for_loss(found(api), threading.Event())


def test_server_that_comes_back_is_not_lost(api, quick):
    is_over = threading.Event()
    api.status = 503
    back = threading.Timer(0.1, lambda: setattr(api, "status", 200))
    over = threading.Timer(0.6, is_over.set)
    back.start()
    over.start()
    assert wait_for_loss(found(api), is_over) is None


def test_error_of_the_client_is_an_outage_and_others_are_not():
    inner = httpx.ConnectError("refused by http://me:secret@host")
    error = RuntimeError("a task failed")
    error.__cause__ = inner
    assert "secret" not in str(as_outage(error))
    assert isinstance(
        as_outage(RuntimeError("Failed to reach API at http://x")), PrefectServerError
    )
    assert as_outage(ValueError("mine")) is None
    ours = DatasetError("no images")
    ours.__cause__ = inner
    assert as_outage(ours) is None


def test_passwords_are_masked():
    assert masked("see http://me:pa@ss@host/x and ws://h") == "see http://***@host/x and ws://h"
