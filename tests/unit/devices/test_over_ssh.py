"""Measuring over ssh, against a server of this machine's."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.devices.elsewhere import (
    LostError,
    NetworkToMeasure,
    ask_over_ssh,
    card_of,
    card_said,
    check_over_ssh,
    check_result,
    measure_over_ssh,
    read_result,
    write_folder,
)
from ofa_pipeline.documents import Awaited, MeasurementSettings
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.progress import Reporter
from tests.support.elsewhere import clean_python
from tests.support.runtimes import Settings, tiny_subnet

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="OpenSSH's server is not installed"
)
CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
SetEnv SHLVL=5
"""  # the last so that no shell reads what is meant for people, which may take seconds


class Server:
    """A server that lets one key in, and clients that know it."""

    def __init__(self, folder):
        self.folder, self.known = folder, folder / "known"
        for name in ("host", "key"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
            subprocess.run(make, check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.location = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        key = (folder / "host.pub").read_text().split()
        self.known.write_text(f"[127.0.0.1]:{self.port} {key[0]} {key[1]}\n")
        client = folder / "client"
        client.write_text(
            f"IdentityFile {folder}/key\nIdentitiesOnly yes\nUserKnownHostsFile {self.known}\n"
        )
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("ssh", "scp"):
            program = self.bin / name
            program.write_text(f'#!/bin/sh\nexec {shutil.which(name)} -F {client} "$@"\n')
            program.chmod(0o755)
        server = folder / "server"
        server.write_text(CONFIGURATION.format(folder=folder, port=self.port))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen([SSHD, "-D", "-f", server, "-E", folder / "log"])
        self._wait()

    def _wait(self):
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text())


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.terminate()
    server.process.wait()


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setenv("PATH", f"{running.bin}:{os.environ['PATH']}")
    monkeypatch.setattr("ofa_pipeline.devices.elsewhere.following.WAIT_S", 0.1)
    return running


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return clean_python(tmp_path_factory.mktemp("python") / "venv", ("onnxruntime", "numpy"))


@pytest.fixture
def exported(tmp_path):
    network = tiny_subnet()
    task = write_folder(
        tmp_path / "folder",
        [
            NetworkToMeasure(keys=(f"network {index}",), network=network, resolution_px=16, macs=1)
            for index in range(4)
        ],
        device=f"server-{os.getpid()}",
        awaited=Awaited(round="search"),
        settings=Settings(location="ssh://"),
        measurement=MeasurementSettings(warmup_runs=1, timed_runs=2),
    )
    yield tmp_path / "folder", task
    shutil.rmtree(Path.home() / ".cache" / "ofa-pipeline" / task.id[:12], ignore_errors=True)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_a_lost_connection_is_taken_up_where_it_was_and_nothing_stays_there(
    server, exported, python, tmp_path
):
    folder, task = exported
    flag = tmp_path / "flag"
    drops = script(
        tmp_path / "python",
        f"if [ ! -e {flag} ]; then touch {flag}; "
        f"{python} measure.py | head -n 1; kill -9 $PPID; fi\n"
        f'{python} "$@" | tee {tmp_path}/second',
    )
    events = []
    path = measure_over_ssh(
        server.location, folder, task, python=drops, reporter=Reporter(events.append)
    )
    check_result(read_result(path), task, path=path)
    assert "networks were measured before" in (tmp_path / "second").read_text()
    assert [event.done for event in events if event.total][-1] == 3
    assert not (Path.home() / ".cache" / "ofa-pipeline" / task.id[:12]).exists()


@pytest.mark.slow
def test_a_connection_that_is_always_lost_ends_and_keeps_what_was_measured(
    server, exported, tmp_path
):
    folder, task = exported
    drops = script(tmp_path / "python", "kill -9 $PPID")
    with pytest.raises(DeviceError, match="was lost 3 times"):
        measure_over_ssh(server.location, folder, task, python=drops)
    kept = Path.home() / ".cache" / "ofa-pipeline" / task.id[:12]
    assert (kept / "manifest.json").exists()


@pytest.fixture
def home():
    """What lies at home before; nothing is added by a check."""
    before = set(Path.home().iterdir())
    yield
    for _ in range(100):  # where a connection was lost, what runs there ends by itself
        left = [path for path in Path.home().glob(".ofa-pipeline-*") if path not in before]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(left)


@pytest.mark.slow
def test_a_check_measures_there_begins_anew_when_lost_and_leaves_nothing(
    server, exported, python, tmp_path, home
):
    folder, task = exported
    flag = tmp_path / "flag"
    drops = script(
        tmp_path / "python",
        f"if [ ! -e {flag} ]; then touch {flag}; p=$$; "
        'while case "$(cat /proc/$p/comm)" in sshd*) false;; *) true;; esac; do '
        "p=$(cut -d' ' -f4 /proc/$p/stat); done; kill -9 $p; fi\n"
        f'exec {python} "$@"',
    )
    events = []
    path = check_over_ssh(
        server.location, folder, task, python=drops, reporter=Reporter(events.append)
    )
    result = read_result(path)
    check_result(result, task, path=path)
    assert result.load.num_cores == os.cpu_count()
    assert result.load.busy_cores >= 0
    assert [event.done for event in events if event.total][-1] == 3
    card = card_said(ask_over_ssh(server.location, folder, python=python), task)
    assert card == card_of(result)
    assert card.cores == usable_cores()


def test_what_is_missing_there_is_said_with_the_command_and_nothing_is_left(
    server, exported, tmp_path, home
):
    bare = clean_python(tmp_path / "bare", ())
    installs = rf"numpy is not installed\. Install it: .*{bare} -m pip install numpy onnxruntime"
    for ask in (
        lambda: check_over_ssh(server.location, *exported, python=bare),
        lambda: ask_over_ssh(server.location, exported[0], python=bare),
    ):
        with pytest.raises(DeviceError, match=installs):
            ask()


def test_a_host_that_cannot_be_asked_is_told_from_one_that_lacks_something(server, exported):
    with pytest.raises(LostError, match="refused"):
        ask_over_ssh("ssh://127.0.0.1:1", exported[0])


def test_an_unknown_host_key_says_what_to_do(server, exported):
    folder, task = exported
    known = server.known.read_text()
    server.known.write_text("")
    try:
        with pytest.raises(DeviceError, match=rf"must be known.*ssh -p {server.port}"):
            measure_over_ssh(server.location, folder, task)
    finally:
        server.known.write_text(known)


def test_a_host_that_does_not_let_us_in_says_what_to_do(server, exported):
    folder, task = exported
    location = server.location.replace(getpass.getuser(), "nobody-of-this-name")
    with pytest.raises(DeviceError, match="ssh-copy-id"):
        measure_over_ssh(location, folder, task)


@pytest.mark.slow
def test_what_the_script_finds_wrong_there_is_said(server, exported, tmp_path):
    folder, task = exported
    broken = script(tmp_path / "python", 'echo "error: onnxruntime is not installed" >&2; exit 1')
    with pytest.raises(DeviceError, match="onnxruntime is not installed"):
        measure_over_ssh(server.location, folder, task, python=broken)


def test_a_host_that_is_not_there_is_tried_a_few_times(server, exported):
    folder, task = exported
    with pytest.raises(DeviceError, match=r"not made in 3 tries.*refused.*Check that it is on"):
        measure_over_ssh("ssh://127.0.0.1:1", folder, task)
