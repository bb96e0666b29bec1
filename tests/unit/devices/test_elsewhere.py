"""Folders that are measured elsewhere, the script in them, and what is made of its result."""

import copy
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from ofa_pipeline.artifacts import Layout, digest_file, digest_json
from ofa_pipeline.devices.elsewhere import (
    ElsewhereDevice,
    ElsewhereStore,
    NetworkToMeasure,
    card_of,
    check_result,
    measured,
    profiled_on,
    read_result,
    search_key,
    write_folder,
)
from ofa_pipeline.devices.elsewhere import folder as folder_module
from ofa_pipeline.devices.fresh_load import CLEAR_REFS
from ofa_pipeline.documents import Awaited, MeasurementSettings, MeasuringTask
from ofa_pipeline.errors import AwaitedError, DeviceError, ManifestMismatchError
from ofa_pipeline.latency import reference_arch
from tests.support.elsewhere import (
    MACHINE,
    REFERENCE_MS,
    clean_python,
    result_of,
    sample_awaited,
    sample_task,
    write_result,
)
from tests.support.runtimes import Settings, tiny_space, tiny_subnet

SPACE = tiny_space()
ARCHS = (SPACE.smallest, SPACE.largest)


def export(folder, *, measuring_round="search", runtime="onnxruntime", of_profile=None, **settings):
    archs = (reference_arch(SPACE), *ARCHS)
    return write_folder(
        folder,
        [
            NetworkToMeasure(
                keys=(search_key(arch, num_classes=3),),
                network=tiny_subnet(arch),
                resolution_px=arch.resolution_px,
                macs=1000,
            )
            for arch in archs
        ],
        device="phone",
        awaited=Awaited(round=measuring_round, profiled_on=of_profile),
        settings=Settings(runtime=runtime, location="away", **settings),
        measurement=MeasurementSettings(warmup_runs=1, timed_runs=4),
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return clean_python(tmp_path_factory.mktemp("python") / "venv", ("onnxruntime", "numpy"))


@pytest.fixture(scope="module")
def measured_folder(tmp_path_factory, python):
    folder = tmp_path_factory.mktemp("away") / "phone"
    task = export(folder)
    finished = script(folder, python)
    assert finished.returncode == 0, finished.stderr
    return folder, task, finished.stdout


def script(folder, python, *words):
    return subprocess.run(
        [python, "-I", folder / "measure.py", *words], capture_output=True, text=True, check=False
    )


class TestScript:
    def test_needs_nothing_but_the_runtime_and_numpy(self, python):
        for package in ("torch", "ofa_pipeline", "scipy"):
            probe = [python, "-I", "-c", f"import {package}"]
            assert subprocess.run(probe, capture_output=True, check=False).returncode == 1

    def test_its_result_is_that_of_the_task(self, measured_folder):
        folder, task, shown = measured_folder
        (path,) = folder.glob("result-*.json")
        result = read_result(path)
        check_result(result, task, path=path)
        found = measured(result)
        assert list(found) == [search_key(arch, num_classes=3) for arch in ARCHS]
        assert all(0 < latency.p50_ms < 1000 for latency in found.values())
        assert all(0 < latency.load_ms < 1000 for latency in found.values())
        assert all(0 < latency.first_call_ms < 1000 for latency in found.values())
        assert all(latency.is_warm is not None for latency in found.values())
        if CLEAR_REFS.exists():  # of a process without torch, and little of it the network's
            assert all(
                0.01 < latency.network_memory_mb < 20 < latency.peak_memory_mb < 300
                for latency in found.values()
            )
        assert str(path) in shown
        assert "2 of 2" in shown

    def test_options_of_the_runtime_go_there_and_come_back(self, tmp_path, python):
        options = {"graph_optimization_level": "ORT_DISABLE_ALL"}
        task = export(tmp_path / "phone", options=options)
        assert script(tmp_path / "phone", python).returncode == 0
        (path,) = (tmp_path / "phone").glob("result-*.json")
        result = read_result(path)
        check_result(result, task, path=path)
        assert card_of(result).options == options

    def test_an_option_that_the_runtime_does_not_know_is_not_exported(self, tmp_path):
        with pytest.raises(DeviceError, match="got 'turbo'"):
            export(tmp_path / "phone", options={"turbo": True})
        assert not (tmp_path / "phone").exists()

    def test_goes_on_where_it_was_stopped(self, tmp_path, measured_folder, python):
        folder = copied(measured_folder[0], tmp_path)
        notes = folder / "measured.jsonl"
        first, second = notes.read_text().splitlines()
        notes.write_text(first + "\n" + second[:-40])
        (result,) = folder.glob("result-*.json")
        result.unlink()
        shown = script(folder, python).stdout
        assert "1 of 2 networks were measured before" in shown
        assert first in notes.read_text()
        check_result(read_result(result), measured_folder[1], path=result)

    def test_a_network_that_could_not_be_run_is_tried_again(
        self, tmp_path, measured_folder, python
    ):
        folder = copied(measured_folder[0], tmp_path)
        notes = folder / "measured.jsonl"
        first, second = notes.read_text().splitlines()
        row, _ = json.loads(second)
        failed = {key: row[key] for key in ("card", "task", "key", "sha256")}
        failed["error"] = "MemoryError: not now"
        text = json.dumps([failed, digest_json(failed)])
        notes.write_text(f"{first}\n{text}\n")
        shown = script(folder, python).stdout
        assert f"{row['key']} is tried again: MemoryError: not now" in shown
        assert "1 of 2 networks were measured before" in shown
        (result,) = folder.glob("result-*.json")
        check_result(read_result(result), measured_folder[1], path=result)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("machine", "holds measurements of another"),
            ("format", "must be of format 1, found 2"),
            ("threads", "is not as it was exported: its digest"),
            ("half", "is no whole JSON"),
            ("no manifest", "manifest.json is missing. Copy the whole folder again"),
            ("a list", "must hold a mapping"),
            ("bare", "is not as it was exported"),
            ("no code", "warm_up.py is missing. Copy the whole folder again"),
            ("no runtime", "runtime.py is missing. Copy the whole folder again"),
            ("no notes", "measured.jsonl'. Put that right; run the same command again"),
            ("no lock", "measuring.lock'. Put that right; run the same command again"),
            ("damaged", "is not as it was exported"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path, measured_folder, python, change, message):
        folder = copied(measured_folder[0], tmp_path)
        if change == "no code":
            (folder / "measured.jsonl").unlink()
        SPOIL[change](folder)
        finished = script(folder, python)
        assert finished.returncode == 1
        assert message in finished.stderr
        assert "Traceback" not in finished.stderr

    def test_more_threads_than_cores_are_said(self, tmp_path, python):
        export(tmp_path / "phone", threads=4096)
        finished = script(tmp_path / "phone", python)
        assert finished.returncode == 1
        assert "this machine has" in finished.stderr

    def test_an_old_python_is_told_so(self, measured_folder):
        old = (
            "import functools, runpy, sys; sys.version_info = (3, 8, 18); del functools.cache; "
            f"runpy.run_path({str(measured_folder[0] / 'measure.py')!r}, run_name='__main__')"
        )
        finished = subprocess.run(
            [sys.executable, "-c", old], capture_output=True, text=True, check=False
        )
        assert finished.returncode == 1
        assert finished.stderr.startswith("error: Python 3.9 or newer must run this")

    def test_notes_of_something_else_are_passed_over(self, tmp_path, measured_folder, python):
        folder = copied(measured_folder[0], tmp_path)
        notes = folder / "measured.jsonl"
        first = notes.read_bytes().splitlines()[0]
        notes.write_bytes(b"\xd0\xff\n5\nnull\n{}\n[1, 2, 3]\n" + first + b"\n")
        finished = script(folder, python)
        assert finished.returncode == 0, finished.stderr
        assert "1 of 2 networks were measured before" in finished.stdout

    @pytest.mark.parametrize("key", ["runtime_version", "hardware", "governor", "driver"])
    def test_another_machine_than_that_of_the_profile_is_refused_before_work(
        self, tmp_path, measured_folder, python, key
    ):
        (path,) = measured_folder[0].glob("result-*.json")
        profiled = profiled_on(card_of(read_result(path)))
        folder = tmp_path / "phone"
        export(folder, of_profile=profiled.model_copy(update={key: "another"}))
        finished = script(folder, python)
        assert finished.returncode == 1
        assert "this must be the machine of the device's profile" in finished.stderr
        assert f"{key} {getattr(profiled, key)}, not another" in finished.stderr
        assert "ofa-pipeline device profile phone --again" in finished.stderr
        assert not (folder / "measured.jsonl").exists()

    def test_the_machine_of_the_profile_measures(self, tmp_path, measured_folder, python):
        (path,) = measured_folder[0].glob("result-*.json")
        task = export(tmp_path / "phone", of_profile=profiled_on(card_of(read_result(path))))
        finished = script(tmp_path / "phone", python)
        assert finished.returncode == 0, finished.stderr
        (path,) = (tmp_path / "phone").glob("result-*.json")
        check_result(read_result(path), task, path=path)

    def test_a_core_that_is_not_there_is_said(self, tmp_path, python):
        export(tmp_path / "phone", pinning=(5000,))
        finished = script(tmp_path / "phone", python)
        assert finished.returncode == 1
        assert "pinned to the cores [5000], but this program may use [0" in finished.stderr

    def test_a_python_without_numpy_is_told_so(self, tmp_path):
        export(tmp_path / "folder", runtime="pytorch")
        finished = script(tmp_path / "folder", clean_python(tmp_path / "bare", ()))
        assert finished.returncode == 1
        assert finished.stderr.startswith("error: numpy is not installed")

    def test_a_runtime_that_is_not_there_is_named_with_the_command(self, tmp_path, python):
        export(tmp_path / "folder", runtime="pytorch")
        finished = script(tmp_path / "folder", python)
        assert finished.returncode == 1
        assert "pip install safetensors torch" in finished.stderr

    @pytest.mark.parametrize(
        ("runtime", "package"),
        [
            ("executorch", "executorch torch"),
            ("litert", "ai-edge-litert"),
            ("ncnn", "ncnn"),
            ("openvino", "openvino"),
        ],
    )
    def test_what_is_installed_there_is_the_runtime_alone(self, tmp_path, runtime, package):
        export(tmp_path / "folder", runtime=runtime)
        for name in ("README.txt", "runtime.py"):
            text = (tmp_path / "folder" / name).read_text()
            assert f"pip install {package}" in text
            assert "ofa-pipeline[" not in text

    def test_a_network_that_cannot_be_run_is_in_the_result(self, tmp_path, python):
        path = tmp_path / "odd.onnx"
        path.write_bytes(b"no model")
        odd = NetworkToMeasure(keys=("odd",), network=path, resolution_px=16, macs=1)
        good = NetworkToMeasure(keys=("a",), network=tiny_subnet(), resolution_px=16, macs=1)
        task = write_folder(
            tmp_path / "folder",
            [good, odd],
            device="phone",
            awaited=Awaited(round="search"),
            settings=Settings(location="away"),
            measurement=MeasurementSettings(warmup_runs=1, timed_runs=2),
        )
        assert script(tmp_path / "folder", python).returncode == 0
        (path,) = (tmp_path / "folder").glob("result-*.json")
        with pytest.raises(DeviceError, match="cannot run the network 'odd' there"):
            check_result(read_result(path), task, path=path)


def test_folder_whose_export_was_interrupted_is_written_anew(tmp_path, monkeypatch):
    whole = export(tmp_path / "whole")
    written = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")}
    again = tmp_path / "again"
    with monkeypatch.context() as full:
        full.setattr(folder_module, "_write_script", full_disk)
        with pytest.raises(OSError, match="No space left"):
            export(again)
    (again / "networks" / "of-another-export.onnx").write_bytes(b"")
    assert export(again) == whole
    assert {path.relative_to(again) for path in again.rglob("*")} == written
    with pytest.raises(DeviceError, match="must be new or empty"):
        export(again)


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_file(path):
    path.write_bytes(path.name.encode())
    return path


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def alone(**changed):
    loaded = {"load_ns": 10**6, "first_call_ns": 10**6, "resident_bytes": 1, "peak_bytes": 2}
    return {**loaded, **changed}


def _other_machine(folder):
    notes = folder / "measured.jsonl"
    row, _ = json.loads(notes.read_text().splitlines()[0])
    row["card"]["machine"] = "ffffffffff"
    result = json.dumps(row, sort_keys=True)
    notes.write_text(json.dumps([row, hashlib.sha256(result.encode()).hexdigest()]) + "\n")


def _edited_manifest(folder, change):
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def _full(path):
    path.unlink(missing_ok=True)
    path.mkdir()


SPOIL = {
    "machine": _other_machine,
    "format": lambda folder: _edited_manifest(folder, lambda v: v.update(format=2)),
    "threads": lambda folder: _edited_manifest(folder, lambda v: v["card"].update(threads=4096)),
    "half": lambda folder: (folder / "manifest.json").write_text('{"format": 1, "id": "'),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "bare": lambda folder: (folder / "manifest.json").write_text('{"format": 1}'),
    "no code": lambda folder: (folder / "warm_up.py").unlink(),
    "no runtime": lambda folder: (folder / "runtime.py").unlink(),
    "no notes": lambda folder: _full(folder / "measured.jsonl"),
    "no lock": lambda folder: _full(folder / "measuring.lock"),
    "damaged": lambda folder: next((folder / "networks").iterdir()).write_bytes(b"other"),
}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return export(tmp_path_factory.mktemp("exported") / "folder", runtime="pytorch")


class TestResult:
    @pytest.fixture
    def result(self, task):
        return result_of(task, lambda key: 1.0)

    def test_latencies_are_those_of_the_machine(self, tmp_path, task, result):
        found = read_result(write_result(tmp_path / "r.json", result))
        check_result(found, task, path=tmp_path)
        latency = measured(found, reference_ms=2 * REFERENCE_MS)
        assert [one.p50_ms for one in latency.values()] == pytest.approx([2.0, 2.0])
        assert card_of(found).hardware == MACHINE["hardware"]
        assert card_of(found).governor == "performance"

    def test_of_an_earlier_script_memory_and_warm_up_are_not_known(self, result, tmp_path):
        (first, _) = measured(read_result(write_result(tmp_path / "r.json", result))).values()
        assert (first.load_ms, first.first_call_ms) == (10.0, 1.0)
        assert (first.is_warm, first.peak_memory_mb, first.network_memory_mb) == (None, None, None)

    def test_what_was_loaded_alone_counts(self, result, tmp_path):
        for row in result["rows"]:
            row["alone"] = {
                "load_ns": 5 * 10**6,
                "first_call_ns": 2 * 10**6,
                "resident_bytes": 40 * 10**6,
                "peak_bytes": 50 * 10**6,
            }
            row["sessions"] = [{**one, "is_warm": True} for one in row["sessions"]]
        result["rows"][1]["sessions"][1]["is_warm"] = False
        path = write_result(tmp_path / "r.json", result)
        first, second = measured(read_result(path)).values()
        assert (first.load_ms, first.first_call_ms) == (5.0, 2.0)
        assert (first.peak_memory_mb, first.network_memory_mb) == (50.0, 10.0)
        assert (first.is_warm, second.is_warm) == (True, False)

    def test_an_edited_file_is_refused(self, tmp_path, result):
        path = write_result(tmp_path / "r.json", result)
        path.write_text(path.read_text().replace("1000000", "1000001", 1))
        with pytest.raises(ManifestMismatchError, match="was changed afterwards"):
            read_result(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda r: r.update(format=2), "must be of format 1, found 2"),
            (lambda r: r["rows"][0]["sessions"][0]["network"][0]["ns"].append(-5), "ns"),
            (
                lambda r: r["rows"][0]["sessions"][0]["network"][0].update(ns=[5]),
                "impossible times",
            ),
            (lambda r: r["rows"][0]["sessions"][0]["network"][0].update(cpu_ns=10**9), "CPU time"),
            (lambda r: r["rows"][0]["sessions"][0]["reference"].pop(), "before and after each"),
            (lambda r: r["rows"].pop(), "1 are missing: 'search"),
            (lambda r: r["rows"].append({**r["rows"][0], "key": "odd"}), "nobody asked for: 'odd'"),
            (lambda r: r["rows"].append(r["rows"][0]), "once, but holds several times 'search"),
            (lambda r: r["rows"][0]["sessions"][0].update(load_ns=10**15), "opening the file must"),
            (lambda r: r["rows"][0].update(alone=alone(first_call_ns=10**15)), "first call must"),
            (lambda r: r["rows"][0].update(alone=alone(peak_bytes=10**18)), "impossible memory"),
            (lambda r: r["rows"][0].update(alone=alone(resident_bytes=10**9)), "impossible memory"),
            (lambda r: r["rows"][0].update(sessions=[]), "but holds neither"),
            (lambda r: r["rows"][0].update(sha256="0" * 64), "must be the file"),
            (lambda r: r["rows"][1]["card"].update(machine="f" * 10), "which differ in machine"),
            (lambda r: r["task"].update(device="other"), "its manifest says something else"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_cannot_be_is_refused(self, tmp_path, task, result, change, message):
        result = copy.deepcopy(result)
        change(result)
        path = write_result(tmp_path / "r.json", result)
        with pytest.raises(ManifestMismatchError, match=message):
            check_result(read_result(path), task, path=path)

    def test_a_result_of_another_machine_than_that_of_the_profile_is_refused(self, tmp_path):
        found = result_of(export(tmp_path / "any", runtime="pytorch"), lambda key: 1.0)
        card = card_of(read_result(write_result(tmp_path / "any.json", found)))
        task = export(tmp_path / "phone", runtime="pytorch", of_profile=profiled_on(card))
        path = write_result(tmp_path / "r.json", result_of(task, lambda key: 1.0))
        check_result(read_result(path), task, path=path)
        other = result_of(task, lambda key: 1.0, runtime_version="1.2.4")
        path = write_result(tmp_path / "other.json", other)
        with pytest.raises(ManifestMismatchError, match=r"runtime_version: 1\.2\.4, not 1\.2\.3"):
            check_result(read_result(path), task, path=path)

    @pytest.mark.parametrize(
        ("calls", "offset", "message"),
        [
            ([0] * 20, 0, r"3 networks of 1,000 to 1,000 .* each took 1 ms exactly"),
            (
                range(20),
                500,
                "20 calls of 'network 1' must be its own, but are those of 'network 0",
            ),
        ],
        ids=["equal", "copied"],
    )
    def test_networks_that_take_the_same_time_are_refused(self, tmp_path, calls, offset, message):
        one = sample_task()
        networks = [
            one.networks[0].model_copy(update={"key": f"network {index}", "sha256": 64 * digit})
            for index, digit in enumerate("abc")
        ]
        task = one.model_copy(update={"networks": networks})
        result = result_of(task, lambda key: 1.0)
        for index, row in enumerate(result["rows"]):
            own = offset if index == len(networks) - 1 else 0
            visit = {"ns": [10**6 + call + own for call in calls], "cpu_ns": None}
            (session, _) = row["sessions"]
            row["sessions"] = [
                {**session, "network": [visit], "reference": session["reference"][:2]}
            ]
        path = write_result(tmp_path / "r.json", result)
        with pytest.raises(ManifestMismatchError, match=message):
            check_result(read_result(path), task, path=path)

    def test_more_work_than_can_be_done_is_refused(self, tmp_path, task, result):
        values = {**task.to_dict(), "networks": [n.to_dict() for n in task.networks]}
        values["networks"][0]["macs"] = 10**15
        greedy = MeasuringTask.from_dict(values)
        path = write_result(tmp_path / "r.json", {**result, "task": greedy.to_dict()})
        with pytest.raises(ManifestMismatchError, match="cannot be done in 1 ms"):
            check_result(read_result(path), greedy, path=path)


class TestDevice:
    @pytest.fixture
    def store(self, tmp_path):
        return ElsewhereStore(Layout(tmp_path), "phone")

    def come_back(self, store, tmp_path):
        """What a trip to the device brings."""
        task = export(tmp_path / "trip", runtime="pytorch")
        path = write_result(tmp_path / "r.json", result_of(task, lambda key: 1.0))
        store.keep_result(path.read_bytes(), digest=digest_file(path))
        return card_of(read_result(path))

    def device(self, card, store, ask_for):
        return ElsewhereDevice(
            card, store, reference_ms=REFERENCE_MS, num_classes=3, ask_for=ask_for
        )

    def test_asks_for_what_is_missing_once(self, store, tmp_path):
        asked = []
        card = self.come_back(store, tmp_path)
        device = self.device(card, store, asked.append)
        device.expect(ARCHS)
        assert not asked
        assert device.measure(tiny_subnet(ARCHS[0]), resolution_px=16).p50_ms == pytest.approx(1.0)

    def test_what_another_machine_measured_does_not_count(self, store, tmp_path):
        card = self.come_back(store, tmp_path)
        device = self.device(card.model_copy(update={"hardware": "x86"}), store, lambda _: None)
        with pytest.raises(DeviceError, match="must come from the machine of its profile"):
            device.expect(ARCHS)

    def test_the_whole_batch_is_awaited_at_once(self, store, tmp_path):
        card = self.come_back(store, tmp_path)
        for path in store.folder.glob("*.json"):
            path.unlink()

        def away(awaited):
            assert awaited.archs == ARCHS
            assert awaited.profiled_on == profiled_on(card)
            raise AwaitedError("go there")

        with pytest.raises(AwaitedError):
            self.device(card, store, away).expect(ARCHS)

    def test_what_is_awaited_is_no_result(self, store, tmp_path):
        card = self.come_back(store, tmp_path)
        store.wait_for(sample_awaited())
        assert [result.task.device for result in store.results()] == ["phone"]
        self.device(card, store, lambda _: None).expect(ARCHS)

    def test_every_file_of_a_subnet_is_awaited(self, store, tmp_path):
        card = self.come_back(store, tmp_path)
        paths = [write_file(tmp_path / name) for name in ("model.int8.onnx", "model.onnx")]
        asked = []
        with pytest.raises(DeviceError, match="2 of 2 networks"):
            self.device(card, store, asked.append).expect(ARCHS[:1], files={ARCHS[0]: paths})
        (awaited,) = asked
        assert awaited.round == "ship"
        assert awaited.profiled_on == profiled_on(card)
        assert [file.path for file in awaited.files] == ["model.int8.onnx", "model.onnx"]

    def test_files_that_a_search_may_drop_are_awaited_as_candidates(self, store, tmp_path):
        card = self.come_back(store, tmp_path)
        path = write_file(tmp_path / "model.int8.onnx")
        asked = []
        with pytest.raises(DeviceError, match="1 of 1 networks"):
            self.device(card, store, asked.append).expect(
                ARCHS[:1], files={ARCHS[0]: [path]}, are_candidates=True
            )
        assert [(awaited.round, len(awaited.files)) for awaited in asked] == [("search", 1)]

    def test_a_kept_result_that_was_changed_is_refused(self, store, tmp_path):
        card = self.come_back(store, tmp_path)
        (kept,) = store.folder.glob("*.json")
        kept.write_text(kept.read_text() + " ")
        with pytest.raises(ManifestMismatchError, match="was changed after it was imported"):
            self.device(card, store, lambda _: None)
