"""Downloads from a server on this machine that knows ranges, as the real ones do."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from ofa_pipeline.errors import CheckpointError, MissingArtifactError, OfaPipelineError
from ofa_pipeline.proxies import reach_local_directly
from ofa_pipeline.reference.zoo import RemoteFile, cached_file, fetch_file, import_file, read_record

CONTENT = bytes(range(256)) * 1024


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT at /file, a web page at /page, CONTENT in pieces at /broken."""

    ranges: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.ranges.append(self.headers["Range"])
        body = {"/file": CONTENT, "/broken": CONTENT, "/page": b"<!DOCTYPE html><p>no"}.get(
            self.path
        )
        if body is None:
            self.send_error(404)
            return
        start = int((self.headers["Range"] or "bytes=0-")[len("bytes=") : -1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : start + 140_000] if self.path == "/broken" else body[start:])

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.ranges = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_file_is_downloaded_once_and_its_checksum_recorded(server: str, tmp_path: Path) -> None:
    file = RemoteFile(f"{server}/file", "a/weights")
    path = fetch_file(file, folder=tmp_path)
    assert path.read_bytes() == CONTENT
    assert read_record(path) is not None
    assert fetch_file(file, folder=tmp_path) == path
    assert len(Handler.ranges) == 1


def test_interrupted_download_is_taken_up_where_it_stopped(server: str, tmp_path: Path) -> None:
    file = RemoteFile(f"{server}/broken", "weights")
    with pytest.raises(MissingArtifactError, match="go on where it stopped"):
        fetch_file(file, folder=tmp_path)
    assert not (tmp_path / "weights").exists()
    assert fetch_file(file, folder=tmp_path).read_bytes() == CONTENT
    assert Handler.ranges == [None, "bytes=131072-"]


def test_web_page_is_not_taken_for_a_file(server: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="web page"):
        fetch_file(RemoteFile(f"{server}/page", "weights"), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_file_that_cannot_be_had_names_where_it_is_expected(server: str, tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match=str(tmp_path / "weights")):
        fetch_file(RemoteFile(f"{server}/none", "weights"), folder=tmp_path)


def test_changed_cache_file_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.write_bytes(CONTENT)
    file = RemoteFile("http://127.0.0.1:9/none", "weights")
    path = import_file(file, source, folder=tmp_path / "cache")
    assert cached_file(file, folder=tmp_path / "cache") == path
    path.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="was changed"):
        cached_file(file, folder=tmp_path / "cache")


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.write_bytes(CONTENT)
    blocked = tmp_path / "cache"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(OfaPipelineError, match="OFA_PIPELINE_CACHE"):
        import_file(RemoteFile("http://127.0.0.1:9/none", "w"), source, folder=blocked)


class Proxy(Handler):
    """Answers every request in the place of the host that was asked, as a proxy would."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.path = "/" + self.path.rpartition("/")[2]
        super().do_GET()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    Proxy.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_download_goes_through_the_proxy(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    file = RemoteFile("http://far.example/file", "weights")
    assert fetch_file(file, folder=tmp_path).read_bytes() == CONTENT
    assert Proxy.asked == ["http://far.example/file"]


def test_this_machine_is_reached_past_the_proxy(
    server: str, proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"HTTP_PROXY": proxy, "NO_PROXY": "b.example"}
    reach_local_directly(environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fetch_file(RemoteFile(f"{server}/file", "weights"), folder=tmp_path)
    assert Proxy.asked == []


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h", "socks"])
def test_proxy_that_is_dead_is_named_without_its_password(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://me:secret@127.0.0.1:9")
    with pytest.raises(MissingArtifactError) as caught:
        fetch_file(RemoteFile("https://far.example/file", "weights"), folder=tmp_path)
    assert f"through the proxy {scheme}://***@127.0.0.1:9 (HTTPS_PROXY)" in str(caught.value)
    assert "secret" not in str(caught.value)
