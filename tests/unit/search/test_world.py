"""What search asks of the real world: accuracies side by side, latencies one at a time."""

import pickle

import pytest

from ofa_pipeline.artifacts import Layout, digest_file
from ofa_pipeline.compute import SERIAL, LocalExecutor
from ofa_pipeline.devices import LatencyMeasurement, LocalDevice, QuantizedFiles, build_runtime
from ofa_pipeline.evaluation import AccuracyBench, AccuracyTask
from ofa_pipeline.measuring import MeasurementLog
from ofa_pipeline.search import MeasuredWorld, QuantizedWorld
from ofa_pipeline.supernet import build_supernet, save_supernet
from ofa_pipeline.training import deterministic
from tests.support.runtimes import Settings
from tests.support.trained_workspace import context_of, prepared_workspace


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    values = prepared_workspace(root)
    dataset, weights = Layout(root).dataset, root / "supernet.safetensors"
    space = context_of(root, values).params.space.build()
    save_supernet(build_supernet(space, num_classes=2, seed=3), weights)
    return AccuracyBench(dataset, weights, calibration_images=16, batch_size=8)


class FakeDevice:
    """Counts what it measures; the latency is the number of the measurement."""

    def __init__(self):
        self.resolutions_px = []

    def expect(self, archs):
        self.expected = archs

    def measure(self, subnet, *, resolution_px):
        self.resolutions_px.append(resolution_px)
        number = float(len(self.resolutions_px))
        return LatencyMeasurement(
            p50_ms=number,
            p95_ms=number,
            ci_low_ms=number,
            ci_high_ms=number,
            num_runs=10,
            num_dropped_runs=0,
            reference_ms=1.0,
            reference_p10_ms=1.0,
            slowdown=1.0,
            is_contended=False,
        )


def archs_of(bench):
    space = bench.evaluator.supernet.space
    return [space.smallest, space.largest, space.arch(depths=[1, 2]), space.arch(depths=[2, 1])]


def test_subnets_side_by_side_have_equal_bits(bench, tmp_path):
    found = []
    for workers in (1, 3):
        log = MeasurementLog(tmp_path / f"{workers}.jsonl")
        world = MeasuredWorld(bench, FakeDevice, log=log, executor=LocalExecutor(workers))
        with deterministic(threads=1):
            found.append(world.evaluate(archs_of(bench), label="verify"))
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


def test_the_device_is_opened_once_and_what_was_measured_is_kept(bench, tmp_path):
    opened = []

    def open_device():
        opened.append(FakeDevice())
        return opened[-1]

    archs, path = archs_of(bench), tmp_path / "verified.jsonl"
    world = MeasuredWorld(bench, open_device, log=MeasurementLog(path), executor=SERIAL)
    first = world.measure(archs[:2], label="round 1")
    both = world.measure(archs, label="round 2")
    assert [latency.p50_ms for latency in both] == [1.0, 2.0, 3.0, 4.0]
    assert both[:2] == first
    again = MeasuredWorld(bench, open_device, log=MeasurementLog(path), executor=SERIAL)
    assert again.measure(archs, label="round 2") == both
    [only] = opened
    assert only.resolutions_px == [arch.resolution_px for arch in archs]


def test_a_device_in_int8_is_searched_with_the_files_that_would_ship(tmp_path):
    values = prepared_workspace(tmp_path, {"calibration_fraction": 0.55})
    space = context_of(tmp_path, values).params.space.build()
    weights = tmp_path / "supernet.safetensors"
    save_supernet(build_supernet(space, num_classes=2, seed=3), weights)
    bench = AccuracyBench(Layout(tmp_path).dataset, weights, calibration_images=32, batch_size=8)
    opened, measured = [], []

    class Int8Device(LocalDevice):
        def __init__(self):
            self._runtime = build_runtime(Settings(precision="int8"))
            opened.append(self)

        def expect(self, archs, *, files, are_candidates):
            assert are_candidates
            self.expected = files

        def measure(self, path, *, resolution_px):
            measured.append((path.name, digest_file(path), resolution_px))
            return FakeDevice().measure(path, resolution_px=resolution_px)

    log = MeasurementLog(tmp_path / "verified.jsonl")
    world = QuantizedWorld(bench, Int8Device, log=log, folder=tmp_path / "files")
    archs = [space.smallest, space.largest]
    accuracies = world.evaluate(archs, label="verify")
    world.measure(archs, label="verify")
    files = [tmp_path / "files" / arch.arch_id / "model.int8.onnx" for arch in archs]
    assert measured == [
        ("model.int8.onnx", digest_file(path), arch.resolution_px)
        for path, arch in zip(files, archs, strict=True)
    ]
    [device] = opened
    files_of = QuantizedFiles(device, bench.evaluator)
    assert accuracies == [
        files_of.accuracy_top1(path, resolution_px=arch.resolution_px)
        for path, arch in zip(files, archs, strict=True)
    ]


def test_a_bench_goes_to_another_process_without_its_images(bench):
    archs = archs_of(bench)
    carried = pickle.dumps(bench)
    assert len(carried) < 2000
    task = pickle.loads(pickle.dumps(AccuracyTask(arch=archs[1], calibration_draw=1)))
    with deterministic(threads=1):
        assert pickle.loads(carried)()(task) == bench()(task)
