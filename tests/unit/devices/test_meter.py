import gc
import os
import threading

import numpy as np
import pytest

from ofa_pipeline.devices import (
    LatencyMeasurement,
    LatencyMeter,
    ReferenceNetwork,
    build_runtime,
    export_onnx,
)
from ofa_pipeline.devices.fresh_load import CLEAR_REFS
from ofa_pipeline.devices.meter import BUSY_PATIENCE_S, MAX_WAIT
from ofa_pipeline.devices.quiet import can_pin, quiet_process
from tests.support.runtimes import (
    LOAD_MS,
    MadeUpNetwork,
    MadeUpRuntime,
    MadeUpTime,
    Settings,
    tiny_subnet,
)


def made_up_meter(time, *, reference_ms=None, threads=1):
    return LatencyMeter(
        MadeUpRuntime(time, threads=threads),
        ReferenceNetwork(network=MadeUpNetwork(1.0), resolution_px=16, latency_ms=reference_ms),
        clock=time.clock(),
    )


def test_latency_of_a_quiet_machine_is_exact():
    found = made_up_meter(MadeUpTime()).measure(MadeUpNetwork(0.25), resolution_px=16)
    assert found.p50_ms == pytest.approx(0.25, rel=1e-4)
    assert found.ci_low_ms <= found.p50_ms <= found.ci_high_ms <= found.p95_ms
    assert not found.is_contended
    assert found.num_dropped_runs == 0


def test_loading_and_the_first_call_are_timed_apart():
    found = made_up_meter(MadeUpTime()).measure(MadeUpNetwork(0.25), resolution_px=16)
    assert found.load_ms == pytest.approx(LOAD_MS)
    assert found.first_call_ms == pytest.approx(0.25, rel=1e-4)
    assert found.is_warm


def test_a_network_that_never_becomes_as_fast_as_it_gets_is_said():
    ever_faster = MadeUpTime(speeds=[0.95**call for call in range(120)], calls_a_phase=1)
    found = made_up_meter(ever_faster).measure(MadeUpNetwork(2.0), resolution_px=16)
    assert found.is_warm is False


def test_what_the_runtime_imports_is_not_of_the_first_network():
    """A known reference is not measured, so the first file could be that of the network."""
    time = MadeUpTime(import_ms=500.0)
    meter = made_up_meter(time, reference_ms=1.0)
    found = meter.measure(MadeUpNetwork(0.25), resolution_px=16)
    assert found.load_ms == pytest.approx(LOAD_MS)
    assert time.wall_ms > 500


def test_slow_phases_of_the_machine_do_not_change_the_latency():
    time = MadeUpTime(speeds=[1.0, 1.5, 1.3])
    found = made_up_meter(time).measure(MadeUpNetwork(2.0), resolution_px=16)
    assert found.p50_ms == pytest.approx(2.0, rel=0.01)
    assert found.slowdown > 1.1
    assert found.num_dropped_runs > 0


def test_a_known_reference_latency_makes_a_slower_machine_comparable():
    time = MadeUpTime(speeds=[1.4])
    found = made_up_meter(time, reference_ms=1.0).measure(MadeUpNetwork(3.0), resolution_px=16)
    assert found.p50_ms == pytest.approx(3.0, rel=1e-4)
    assert found.slowdown == pytest.approx(1.4, rel=1e-3)
    assert found.is_contended


def test_a_busy_machine_is_given_time_to_become_quiet_and_then_its_latency_is_exact():
    # Quiet after two sessions, which are a measurement elsewhere.
    time = MadeUpTime(speeds=[*[1.5] * 6, *[1.0] * 3], calls_a_phase=50)
    found = made_up_meter(time, reference_ms=1.0).measure(MadeUpNetwork(2.0), resolution_px=16)
    assert not found.is_contended
    assert found.p50_ms == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("given", [{"speeds": [1.5]}, {"speeds": [1.5], "preempted_every": 1}])
def test_a_machine_that_is_never_quiet_is_waited_for_a_bounded_time(given):
    time = MadeUpTime(**given)
    found = made_up_meter(time, reference_ms=1.0).measure(MadeUpNetwork(2.0), resolution_px=16)
    assert found.is_contended
    assert time.cpu_ms < 1.5e3 * BUSY_PATIENCE_S
    assert time.wall_ms < 1.5e3 * MAX_WAIT * BUSY_PATIENCE_S


def test_time_that_another_process_takes_does_not_count():
    time = MadeUpTime(preempted_every=3)
    found = made_up_meter(time).measure(MadeUpNetwork(0.5), resolution_px=16)
    assert found.p50_ms == pytest.approx(0.5, rel=1e-3)


def test_several_threads_are_measured_by_the_wall_clock():
    time = MadeUpTime()
    meter = made_up_meter(time, threads=2)
    assert meter.measure(MadeUpNetwork(0.5), resolution_px=16).p50_ms == pytest.approx(0.5)


def test_measurements_round_trip_through_plain_values_and_rescale():
    found = made_up_meter(MadeUpTime()).measure(MadeUpNetwork(0.25), resolution_px=16)
    assert LatencyMeasurement.from_dict(found.to_dict()) == found
    doubled = found.rescaled(2 * found.reference_ms)
    assert doubled.p50_ms == pytest.approx(2 * found.p50_ms)
    assert doubled.ci_high_ms == pytest.approx(2 * found.ci_high_ms)


def test_a_budget_is_met_by_the_whole_confidence_interval():
    found = made_up_meter(MadeUpTime()).measure(MadeUpNetwork(0.25), resolution_px=16)
    assert found.meets(found.ci_high_ms)
    assert not found.meets(found.ci_high_ms * 0.999)


def test_a_real_network_and_its_exported_file_are_measured(tmp_path):
    subnet = tiny_subnet()
    export_onnx(subnet, tmp_path / "model.onnx", resolution_px=16)
    meter = LatencyMeter(
        build_runtime(Settings()),
        ReferenceNetwork(network=subnet, resolution_px=16, latency_ms=0.1),
        timed_runs=10,
    )
    found = [
        meter.measure(subnet, resolution_px=16),
        meter.measure(tmp_path / "model.onnx", resolution_px=16),
    ]
    assert all(np.isfinite(list(m.to_dict().values())[:4]).all() for m in found)
    assert all(0 < m.p50_ms <= m.p95_ms for m in found)
    assert all(0 < m.load_ms < 1000 and 0 < m.first_call_ms < 1000 for m in found)
    if CLEAR_REFS.exists():
        assert all(m.network_memory_mb < m.peak_memory_mb for m in found)


def test_garbage_collection_and_affinity_are_as_before_afterwards():
    assert gc.isenabled()
    before = os.sched_getaffinity(0) if can_pin() else None
    with quiet_process(threads=1) as is_pinned:
        assert not gc.isenabled()
        assert is_pinned == can_pin()
        if is_pinned:
            assert len(os.sched_getaffinity(0)) == 1
    assert gc.isenabled()
    assert before is None or os.sched_getaffinity(0) == before


def test_affinity_is_restored_when_measuring_fails():
    before = os.sched_getaffinity(0) if can_pin() else None
    with pytest.raises(ZeroDivisionError), quiet_process(threads=1):
        raise ZeroDivisionError
    assert gc.isenabled()
    assert before is None or os.sched_getaffinity(0) == before


@pytest.mark.skipif(not can_pin(), reason="nobody chooses cores here")
def test_named_cores_hold_every_thread_of_the_process_meanwhile():
    core = max(os.sched_getaffinity(0))
    begun, over = threading.Event(), threading.Event()
    pool = threading.Thread(target=lambda: (begun.set(), over.wait()))
    pool.start()
    begun.wait()
    before = os.sched_getaffinity(pool.native_id)
    with quiet_process(threads=2, pinning=[core]):
        assert os.sched_getaffinity(0) == os.sched_getaffinity(pool.native_id) == {core}
    assert os.sched_getaffinity(pool.native_id) == before
    over.set()
    pool.join()


def test_several_threads_are_not_pinned():
    with quiet_process(threads=2) as is_pinned:
        assert not is_pinned
