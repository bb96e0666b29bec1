"""Folders that are measured on a phone, which is a folder of this machine behind an adb of ours."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_pipeline.devices.elsewhere import (
    NetworkToMeasure,
    card_of,
    check_result,
    measured,
    read_result,
    write_folder,
)
from ofa_pipeline.documents import Awaited, MeasurementSettings
from tests.support.runtimes import Settings, tiny_space, tiny_subnet

ADB = r"""#!/bin/sh
[ "$1" = -s ] && shift 2
echo "$@" >> "$PHONE/calls"
[ -e "$PHONE/gone" ] && { echo "error: device 'x' not found" >&2; exit 1; }
case "$1" in
get-state) echo device ;;
get-serialno) echo 456 ;;
push) cp "$2" "$3" && echo "1 file pushed" ;;
shell) shift; PATH="$PHONE/bin:$PATH" sh -c "$*" ;;
esac
"""
GETPROP = r"""#!/bin/sh
case "$1" in
ro.product.manufacturer) echo Acme ;;
ro.product.model) echo "P 1" ;;
ro.soc.model) echo AC100 ;;
ro.serialno) echo 123 ;;
esac
"""
TOOL = r"""#!/bin/sh
for word in "$@"; do case "$word" in --graph=*) graph=${word#--graph=} ;; esac; done
size=$(stat -c %s "$graph") || exit 1
echo "$@" >> "$PHONE/runs"
[ -e "$PHONE/refuses" ] && { echo "ERROR: Encountered unresolved custom op: Odd" >&2; exit 1; }
echo "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." >&2
echo "Running benchmark for at least 1 iterations and at least 0 seconds but terminate if exceeding"
echo "count=1 curr=${size}0 p5=${size}0 median=${size}0 p95=${size}0"
echo "Running benchmark for at least 5 iterations and at least 0 seconds but terminate if exceeding"
echo "count=5 first=$size curr=$size min=$((size - 100)) max=1.5e+06 avg=$size std=7"
echo "Inference timings in us: Init: 2028, First inference: ${size}0, Warmup (avg): 9, "
"""


@pytest.fixture
def phone(tmp_path, monkeypatch):
    folder = tmp_path / "phone"
    (folder / "bin").mkdir(parents=True)
    for path, text in (
        (tmp_path / "adb", ADB),
        (folder / "bin" / "getprop", GETPROP),
        (tmp_path / "benchmark_model", TOOL),
    ):
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PHONE", str(folder))
    return folder


def export(folder, **settings):
    space = tiny_space()
    archs = (space.smallest, space.smallest, space.largest)
    return write_folder(
        folder,
        [
            NetworkToMeasure(
                keys=(f"network {index}",),
                network=tiny_subnet(arch),
                resolution_px=arch.resolution_px,
                macs=1000,
            )
            for index, arch in enumerate(archs)
        ],
        device="handset",
        awaited=Awaited(round="search"),
        settings=Settings(**{"runtime": "litert", "location": "away", **settings}),
        measurement=MeasurementSettings(warmup_runs=1, timed_runs=10),
    )


def run(folder, phone, *words, tool="benchmark_model", adb="adb"):
    command = [sys.executable, "-I", folder / "phone.py", "--folder", phone]
    return subprocess.run(
        [*command, "--tool", phone.parent / tool, "--adb", phone.parent / adb, *words],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )


def sizes(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    return {one["key"]: (folder / one["file"]).stat().st_size for one in manifest["networks"]}


def test_what_the_tool_prints_is_a_result_that_is_imported_like_any_other(tmp_path, phone):
    folder = tmp_path / "folder"
    task = export(folder, threads=1, pinning=(0,))
    done = run(folder, phone, "--serial", "x")
    assert done.returncode == 0, done.stderr
    assert "2 of 2" in done.stdout
    (path,) = folder.glob("result-*.json")
    result = read_result(path)
    check_result(result, task, path=path)
    for key, latency in measured(result).items():
        assert latency.p50_ms == pytest.approx(sizes(folder)[key] / 1000, rel=0.01), "the mean"
        assert latency.p95_ms > 1000, "the slowest"
        assert latency.load_ms == pytest.approx(2.028)
        assert latency.first_call_ms == pytest.approx(sizes(folder)[key] / 100)
        assert latency.is_warm is None
    card = card_of(result)
    assert card.hardware == "Acme P 1 AC100"
    assert card.runtime_version.startswith("benchmark_model ")
    assert "--use_xnnpack=true" in (phone / "runs").read_text()
    assert "taskset 1" in (phone / "calls").read_text()
    assert not list(phone.glob("ofa-pipeline-*")), "nothing stays there"
    assert "123" not in path.read_text().replace(result.digest, ""), "its number stays there"


def test_a_run_that_lost_the_phone_goes_on_where_it_was(tmp_path, phone):
    folder = tmp_path / "folder"
    export(folder)
    tool = phone.parent / "benchmark_model"
    flaky = TOOL.replace(
        '[ -e "$PHONE/refuses" ]',
        '[ $(wc -l < "$PHONE/runs") = 40 ] && touch "$PHONE/gone"; [ -e "$PHONE/gone" ]',
    )
    tool.write_text(flaky)
    lost = run(folder, phone)
    assert (lost.returncode, "1 of 2" in lost.stdout) == (1, True)
    assert "adb must reach one phone, but says: error: device 'x' not found" in lost.stderr
    (phone / "gone").unlink()
    tool.write_text(TOOL)
    other = run(folder, phone)
    assert (other.returncode, "runtime_version" in other.stderr) == (1, True), "another tool"
    tool.write_text(flaky)
    again = run(folder, phone)
    assert again.returncode == 0, again.stderr
    assert "1 of 2 networks were measured before" in again.stdout


def test_options_and_a_network_that_the_tool_refuses_are_passed_on(tmp_path, phone):
    folder = tmp_path / "folder"
    export(folder, options={"op_resolver_type": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"})
    (phone / "refuses").touch()
    done = run(folder, phone)
    assert done.returncode == 0
    (path,) = folder.glob("result-*.json")
    assert "unresolved custom op: Odd" in read_result(path).rows[0].error
    assert "--use_xnnpack=false" in (phone / "runs").read_text()


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        ({"tool": "nothing"}, {}, r"nothing is missing: benchmark_model .*Name it: --tool"),
        ({"adb": "nothing"}, {}, r"cannot be run: No such file .* apt-get install adb"),
        ({}, {"batch_size": 2}, r"one image at a time, but the device has batch_size 2"),
        ({}, {"threads": 4096}, r"has 4096 threads, but the phone has \d+ cores"),
        ({}, {"pinning": (4096,)}, r"pinned to the cores \[4096\], but the phone has 0 to \d+\."),
    ],
)
def test_what_cannot_be_is_said_before_work(tmp_path, phone, words, settings, message):
    folder = tmp_path / "folder"
    export(folder, **settings)
    done = run(folder, phone, **words)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert not (phone / "runs").exists()


def test_another_tool_is_refused_with_what_it_printed(tmp_path, phone):
    folder = tmp_path / "folder"
    export(folder)
    (phone.parent / "benchmark_model").write_text("#!/bin/sh\necho took 5 ms\n")
    done = run(folder, phone)
    assert done.returncode == 1
    assert "must print 'Inference timings in us'" in done.stderr
    assert "took 5 ms" in done.stderr


def test_phones_that_hide_their_number_are_told_apart_and_nothing_stays_on_one(tmp_path, phone):
    getprop, machines = phone / "bin" / "getprop", set()
    for index, number in enumerate(("456", "789")):
        getprop.write_text(GETPROP.replace("echo 123", "echo"))
        (phone.parent / "adb").write_text(ADB.replace("456", number))
        folder = tmp_path / f"folder-{index}"
        export(folder)
        assert run(folder, phone).returncode == 0
        (path,) = folder.glob("result-*.json")
        machines.add(read_result(path).card.machine)
    assert len(machines) == 2
    getprop.write_text("#!/bin/sh\n")
    export(tmp_path / "mute")
    mute = run(tmp_path / "mute", phone)
    assert (mute.returncode, "must say what it is" in mute.stderr) == (1, True)
    assert not list(phone.glob("ofa-pipeline-*"))


def test_calls_that_took_the_same_are_read_as_such(tmp_path, phone):
    folder = tmp_path / "folder"
    export(folder)
    tool = phone.parent / "benchmark_model"
    tool.write_text(
        "\n".join(
            'echo "count=5 curr=400(all same)"' if "count=5" in line else line
            for line in TOOL.splitlines()
        )
    )
    done = run(folder, phone)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("result-*.json")
    visits = read_result(path).rows[0].sessions[0].network
    assert {tuple(visit.ns) for visit in visits} == {(400_000,) * 3}


def test_runtimes_without_such_a_tool_have_no_such_script(tmp_path):
    export(tmp_path / "folder", runtime="onnxruntime")
    assert not (tmp_path / "folder" / "phone.py").exists()
    assert "phone.py" not in Path(tmp_path / "folder" / "README.txt").read_text()
