"""Downloads of the reference's files: checked, resumed, cached; or imported from a local file.

Checksums of the reference's weight files were never published. The first download of a file is
trusted and its SHA-256 recorded beside it; every later read is checked against that record, and
a second machine can compare its own with `ofa-pipeline zoo show`.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from ofa_pipeline.artifacts import digest_file, write_json
from ofa_pipeline.errors import CheckpointError, MissingArtifactError, OfaPipelineError
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.proxies import proxy_of
from ofa_pipeline.user import expand_home

_SPECIALIZED = "https://raw.githubusercontent.com/han-cai/files/master/ofa/ofa_specialized"
_NETS = "https://raw.githubusercontent.com/han-cai/files/master/ofa/ofa_nets"
_RESNET = "https://huggingface.co/han-cai/ofa/resolve/main/ofa_supernet_resnet50"

SUPERNET_URLS: Mapping[str, str] = {
    "ofa_mbv3_d234_e346_k357_w1.0": f"{_NETS}/ofa_mbv3_d234_e346_k357_w1.0",
    "ofa_mbv3_d234_e346_k357_w1.2": f"{_NETS}/ofa_mbv3_d234_e346_k357_w1.2",
    "ofa_proxyless_d234_e346_k357_w1.3": f"{_NETS}/ofa_proxyless_d234_e346_k357_w1.3",
    "ofa_resnet50": _RESNET,
}
SPECIALIZED_FILES = ("net.config", "run.config", "init")
_CHUNK = 1 << 16
_TIMEOUT_S = (10.0, 60.0)
_PARTIAL, _RANGE_NOT_SATISFIABLE = 206, 416


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the reference: where it comes from and where it lies in the cache."""

    url: str
    cache_name: str
    """Path within the cache folder."""


def supernet_file(supernet_id: str) -> RemoteFile:
    """Return the weight file of a published supernet."""
    return RemoteFile(SUPERNET_URLS[supernet_id], f"supernets/{supernet_id}.pth")


def specialized_file(name: str, part: str) -> RemoteFile:
    """Return one of the files of a published network: net.config, run.config or init."""
    return RemoteFile(f"{_SPECIALIZED}/{name}/{part}", f"specialized/{name}/{part}")


def cache_folder() -> Path:
    """Return the user's cache: OFA_PIPELINE_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
    own = os.environ.get("OFA_PIPELINE_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else expand_home("~") / ".cache") / "ofa-pipeline"


def cached_file(file: RemoteFile, *, folder: Path | None = None) -> Path | None:
    """Return the file if it is in the cache and unchanged, else None.

    Raises:
        CheckpointError: If it was changed since it was recorded.
    """
    path = (folder or cache_folder()) / file.cache_name
    if not path.exists():
        return None
    recorded = read_record(path)
    if recorded is not None and digest_file(path) != recorded:
        raise CheckpointError(
            f"{path} was changed since it was downloaded: its SHA-256 should begin "
            f"{recorded[:12]}. Remove it, and it is downloaded again."
        )
    return path


def read_record(path: Path) -> str | None:
    """Return the SHA-256 that was recorded for a cached file, if any."""
    record = path.with_name(path.name + ".sha256.json")
    if not record.exists():
        return None
    return str(json.loads(record.read_text())["sha256"])


def fetch_file(
    file: RemoteFile, *, folder: Path | None = None, reporter: Reporter = SILENT
) -> Path:
    """Return the file from the cache, downloading it first where it is missing.

    An interrupted download is taken up where it stopped.

    Raises:
        MissingArtifactError: If it is not cached and cannot be downloaded; the message names the
            path where a local copy is expected.
        CheckpointError: If the cached file was changed, or the server sent something else.
    """
    cached = cached_file(file, folder=folder)
    if cached is not None:
        return cached
    path = (folder or cache_folder()) / file.cache_name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        _download(file.url, partial, reporter)
        if partial.stat().st_size == 0 or _is_web_page(partial):
            partial.unlink()
            raise CheckpointError(f"{file.url} sent no file but an empty answer or a web page")
        _record(path, digest_file(partial), source=file.url)
        partial.replace(path)
    except (requests.RequestException, OSError) as error:
        raise MissingArtifactError(
            f"{file.url} cannot be downloaded to {path}: {_brief(error, file.url)}. Run the "
            "command again to go on where it stopped, get the file on another machine and put it "
            "there (or set OFA_PIPELINE_CACHE to a folder that can be written), or "
            f"import it with: ofa-pipeline zoo get NAME --from FOLDER"
        ) from error
    return path


def is_reachable(file: RemoteFile, *, timeout_s: float) -> bool:
    """Return whether a file could be downloaded now, without downloading it."""
    try:
        return requests.head(file.url, allow_redirects=True, timeout=timeout_s).ok
    except requests.RequestException:
        return False


def import_file(file: RemoteFile, source: Path, *, folder: Path | None = None) -> Path:
    """Copy a local file into the cache, as if it had been downloaded.

    Raises:
        MissingArtifactError: If the source is not a file.
        OfaPipelineError: If the cache cannot be written.
    """
    if not source.is_file():
        raise MissingArtifactError(f"{source} is not a file")
    path = (folder or cache_folder()) / file.cache_name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".importing.") as temporary:
            copy = Path(temporary) / "file"
            shutil.copyfile(source, copy)
            _record(path, digest_file(copy), source="imported")
            copy.replace(path)
    except OSError as error:
        raise OfaPipelineError(
            f"{path} cannot be written: {error}. Set OFA_PIPELINE_CACHE to another folder."
        ) from error
    return path


def _record(path: Path, digest: str, *, source: str) -> None:
    write_json(
        path.with_name(path.name + ".sha256.json"),
        {"sha256": digest, "source": source, "trust": "first use"},
    )


def _download(url: str, partial: Path, reporter: Reporter) -> None:
    done = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with _ask(url, headers) as answer:
        if answer.status_code == _RANGE_NOT_SATISFIABLE:
            return
        answer.raise_for_status()
        resumed = answer.status_code == _PARTIAL
        total = int(answer.headers.get("Content-Length", 0)) + (done if resumed else 0)
        tracker = reporter.track(f"downloading {partial.stem}", total=total, unit="bytes")
        if resumed:
            tracker.skip(done)
        with partial.open("ab" if resumed else "wb") as file:
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                tracker.advance(len(chunk))


def _ask(url: str, headers: Mapping[str, str]) -> requests.Response:
    try:
        return requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S)
    except ValueError as error:
        if isinstance(error, requests.RequestException):
            raise
        # urllib3's own error shows the proxy's password.
        raise requests.exceptions.InvalidProxyURL(
            "the address of a proxy begins with http://, https:// or socks5://"
        ) from error


def _brief(error: Exception, url: str) -> str:
    """Return what went wrong without the stack of causes that it was wrapped in."""
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return str(error)
    if isinstance(error, requests.Timeout):
        text = "the server did not answer in time"
    elif isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        text = "the connection failed or broke off"
    else:
        text = str(error)
    proxy = proxy_of(url)
    return f"{text}, asked through the proxy {proxy}" if proxy else text


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    return start.startswith((b"<!doctype", b"<html"))
