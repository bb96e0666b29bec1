"""A team is told of changes: MLflow's webhooks, received for real, with their signature checked."""

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
from cryptography.fernet import Fernet

from ofa_pipeline.registry import open_registry
from tests.support.mlflow_server import mlflow_server
from tests.support.registry import MODEL, subnet_record, write_bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SECRET = "a secret of the team"
EVENTS = ["model_version.created", "model_version_alias.created"]


@pytest.fixture
def receiver():
    """A small server that keeps what it is sent: its address, and a queue of headers and bodies."""
    received = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            received.put((dict(self.headers), self.rfile.read(length).decode()))
            self.send_response(200)
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


def test_registration_and_promotion_are_told_with_a_signature(receiver, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    address, received = receiver
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    monkeypatch.setenv("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", Fernet.generate_key().decode())
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
