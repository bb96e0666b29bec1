"""The key of a platform's webhooks lasts as long as they do."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.services import Ports, Stores, services_of
from flows.webhooks import KEY_FILE, KEY_VARIABLE, unreadable_webhooks, webhook_key
from ofa_pipeline.errors import OfaPipelineError


def test_key_is_made_once_for_its_owner_alone(tmp_path):
    key = webhook_key(tmp_path, {})
    assert len(base64.urlsafe_b64decode(key)) == 32
    assert webhook_key(tmp_path, {}) == key
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_key_of_the_environment_is_taken_and_none_is_made(tmp_path):
    given = base64.urlsafe_b64encode(bytes(32)).decode()
    assert webhook_key(tmp_path, {KEY_VARIABLE: f" {given} "}) == given
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["short", "", "ä" * 44, "%" * 44])
def test_key_that_is_none_is_refused_and_never_shown(tmp_path, key):
    (tmp_path / KEY_FILE).write_text(key)
    with pytest.raises(OfaPipelineError, match=f"{KEY_FILE} is not. Make one") as caught:
        webhook_key(tmp_path, {})
    assert not key or key not in str(caught.value)


def test_server_of_mlflow_is_given_the_key_in_its_environment(tmp_path):
    stores = Stores(folder=tmp_path, webhook_key=webhook_key(tmp_path, {}))
    _, mlflow, _ = services_of(stores, Ports(prefect=1, mlflow=2, registry=3))
    assert mlflow.environment[KEY_VARIABLE] == stores.webhook_key
    assert stores.webhook_key not in mlflow.words


@pytest.mark.parametrize(("status", "is_told"), [(200, False), (500, True), (401, False)])
def test_webhooks_that_cannot_be_read_are_told(status, is_told):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        told = unreadable_webhooks(f"http://127.0.0.1:{server.server_port}")
        thread.join()
    assert (KEY_VARIABLE in told) == is_told
    assert unreadable_webhooks("http://127.0.0.1:1") == ""
