"""A team is told of changes: MLflow's webhooks, received for real, with their signature checked."""

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest

from flows.webhooks import KEY_VARIABLE, unreadable_webhooks, webhook_key
from ofa_pipeline.registry import open_registry
from tests.support.mlflow_server import mlflow_server
from tests.support.registry import MODEL, subnet_record, write_bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SECRET = "a secret of the team"
EVENTS = ["model_version.created", "model_version_alias.created"]


@pytest.fixture
def receiver():
    """A small server that keeps what it is sent: its address, and a queue of headers and bodies."""
    received, known = Queue(), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            headers = dict(self.headers)
            received.put((headers, self.rfile.read(length).decode()))
            known.append(headers["X-MLflow-Delivery-Id"])
            is_refused = self.path == "/refuses-at-first" and known.count(known[-1]) < 3
            self.send_response(500 if is_refused else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


def is_signed(headers, body):
    """Check the signature as docs/deploy.md tells to."""
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{body}"
    digest = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    return hmac.compare_digest(headers["X-MLflow-Signature"], expected)


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """As docs/deploy.md has them for receivers without TLS, with the key of a platform."""
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    monkeypatch.setenv(KEY_VARIABLE, webhook_key(tmp_path, {}))


def test_registration_and_promotion_are_told_with_a_signature(receiver, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    address, received = receiver
    with mlflow_server(tmp_path / "server") as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        client = MlflowClient(f"http://127.0.0.1:{port}")
        client.create_webhook("team", address, EVENTS, secret=SECRET)
        registry = open_registry(tmp_path)
        subnet = registry.register(subnet_record(), write_bundle(tmp_path / "bundle"))
        registry.set_alias(subnet, "champion")
        told = [received.get(timeout=60) for _ in range(3)]  # the version, its budget, champion
    assert all(is_signed(headers, body) for headers, body in told)
    assert not is_signed(told[0][0], told[0][1] + " ")
    bodies = [json.loads(body) for _, body in told]
    assert {f"{body['entity']}.{body['action']}" for body in bodies} == set(EVENTS)
    assert {body["data"]["name"] for body in bodies} == {MODEL}
    aliases = {body["data"].get("alias") for body in bodies}
    assert aliases == {None, "best-1ms", "champion"}


def test_webhooks_outlive_the_server_and_are_sent_again_where_they_were_refused(
    receiver, tmp_path, monkeypatch
):
    from mlflow import MlflowClient

    address, received = receiver
    with mlflow_server(tmp_path / "server") as port:
        client = MlflowClient(f"http://127.0.0.1:{port}")
        client.create_registered_model(MODEL)
        version = client.create_model_version(MODEL, "s3://bucket/model").version
        client.create_webhook("team", f"{address}/refuses-at-first", EVENTS, secret=SECRET)
    with mlflow_server(tmp_path / "server", port=port):
        assert not unreadable_webhooks(f"http://127.0.0.1:{port}")
        client.set_registered_model_alias(MODEL, "champion", version)
        told = [received.get(timeout=60) for _ in range(3)]  # twice refused
    assert all(is_signed(headers, body) for headers, body in told)
    assert len({headers["X-MLflow-Delivery-Id"] for headers, _ in told}) == 1
    monkeypatch.delenv(KEY_VARIABLE)
    with mlflow_server(tmp_path / "server", port=port):
        assert KEY_VARIABLE in unreadable_webhooks(f"http://127.0.0.1:{port}")
