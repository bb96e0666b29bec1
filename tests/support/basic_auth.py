"""A proxy that asks for a user and a password, before any server: what companies put there."""

import base64
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def proxy_with_password(upstream_port: int, *, user: str, password: str) -> Iterator[int]:
    """Run the proxy before a server of this machine; gives its port."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            """Pass a request on, or ask for the password."""
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if self.headers.get("Authorization") != wanted:
                self._send(401, b"who are you?", {})
                return
            connection = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=60)
            names = ("content-type", "accept", "x-mlflow-workspace")
            headers = {name: value for name, value in self.headers.items() if name.lower() in names}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            kind = {"Content-Type": response.headers.get("Content-Type", "text/plain")}
            self._send(response.status, response.read(), kind)
            connection.close()

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
