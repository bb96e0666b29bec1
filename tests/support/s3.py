"""An S3 store on this machine, for those who keep artifacts and data in one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "team"


@dataclass(frozen=True, slots=True)
class Store:
    """Where the store answers."""

    endpoint: str
    num_refused: Callable[[], int] = lambda: 0
    """Requests that it has refused so far."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What its clients, those of MLflow and DVC, are told by variables."""
        return {
            "MLFLOW_S3_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def keys(self, prefix: str = "") -> list[str]:
        """Return the names of what it holds."""
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]


class Refusing:
    """An application of a web server that refuses some of what it is asked."""

    def __init__(self, answer: Callable[..., Iterable[bytes]], *, every: int) -> None:
        """Refuse nothing yet."""
        self._answer = answer
        self._every = every
        self._num_asked = 0
        self.num_refused = 0

    def __call__(self, environment: Any, start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request, or refuse it."""
        self._num_asked += 1
        if self._num_asked % self._every:
            return self._answer(environment, start)
        self.num_refused += 1
        environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        start("503 Slow Down", [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"]


@contextmanager
def s3_store(*, refuse_every: int = 0) -> Iterator[Store]:
    """Run a store with the empty bucket `BUCKET` until the body ends.

    Args:
        refuse_every: It refuses every so manieth request as overloaded; 0: none.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        assert server._server is not None
        host, port = server.get_host_and_port()
        refusing = Refusing(server._server.app, every=refuse_every)
        store = Store(f"http://{host}:{port}", num_refused=lambda: refusing.num_refused)
        boto3.client(
            "s3",
            endpoint_url=store.endpoint,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        ).create_bucket(Bucket=BUCKET)
        if refuse_every:
            server._server.app = refusing
        yield store
    finally:
        server.stop()
