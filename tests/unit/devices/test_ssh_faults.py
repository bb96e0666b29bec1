"""What goes wrong on a host that is measured over ssh, with programs that stand in for OpenSSH."""

import os

import pytest

from ofa_pipeline.devices.elsewhere import measure_over_ssh
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.progress import Reporter
from tests.support.elsewhere import sample_task

SSH = """for last; do :; done
case "$last" in "rm -rf"*) exit 255;; esac
cd "$HOST" && exec timeout 20 sh -c "$last"
"""
SCP = """for last; do from=$to; to=$last; done
case "$from" in host:*) cp "$HOST/${from#host:}" "$to";; *) cp -r "$from" "$HOST/${to#host:}";; esac
"""


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("bin", "host", "folder"):
        (tmp_path / name).mkdir()
    program(tmp_path / "bin" / "ssh", SSH)
    program(tmp_path / "bin" / "scp", SCP)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("HOST", str(tmp_path / "host"))
    return tmp_path / "folder"


def test_a_runtime_that_complains_at_length_stops_nothing_and_neither_does_what_stays(
    folder, tmp_path
):
    task = sample_task()
    name = f"result-{task.device}-{task.id[:8]}.json"
    python = program(
        tmp_path / "python",
        f"head -c 300000 /dev/zero | tr '\\0' w >&2\necho '1 of 1: 2 ms'\ntouch {name}\n",
    )
    lines = []
    found = measure_over_ssh(
        "ssh://host",
        folder,
        task,
        python=python,
        reporter=Reporter(lambda event: lines.append(event.label)),
    )
    assert found == folder / name
    assert found.exists()
    assert any("could not be removed" in line for line in lines)


def test_a_file_that_may_not_be_written_there_is_no_matter_of_keys(folder, tmp_path):
    said = "PermissionError: [Errno 13] Permission denied: 'measured.jsonl'"
    python = program(tmp_path / "python", f'echo "{900 * "w "}{said}" >&2; exit 1\n')
    with pytest.raises(DeviceError, match="PermissionError") as raised:
        measure_over_ssh("ssh://host", folder, sample_task(), python=python)
    assert "ssh-copy-id" not in str(raised.value)


@pytest.mark.parametrize(
    "python",
    [
        "python-that-is-not-there",
        "echo 'SyntaxError: future feature annotations is not defined' >&2; exit 1",
        "echo 'error: Python 3.9 or newer must run this, but it is 3.8.1' >&2; exit 1",
    ],
)
def test_a_python_that_is_missing_or_too_old_is_said_with_what_to_do(folder, tmp_path, python):
    if " " in python:
        python = program(tmp_path / "python", f"{python}\n")
    with pytest.raises(DeviceError, match=r"must have Python 3\.9 or newer.*apt-get.*--python"):
        measure_over_ssh("ssh://host", folder, sample_task(), python=python)
