import pytest

from ofa_pipeline import memory
from ofa_pipeline.params import parse_params
from ofa_pipeline.planning import SplitSizes, WorkOfRun, measure_machine, measuring, rates_of_thumb
from ofa_pipeline.progress import Reporter
from ofa_pipeline.workspace import checkout_folder
from ofa_pipeline.yaml_reader import read_yaml
from tests.support.survey import a_machine
from tests.support.workspace import tiny_params


@pytest.fixture
def work():
    values = tiny_params(read_yaml(checkout_folder() / "params.yaml"))
    sizes = SplitSizes(train=500, calibration=50, selection=100, test=100)
    return WorkOfRun(parse_params(values, origin="tiny"), sizes, num_classes=10)


def test_real_steps_evaluations_and_latencies_are_measured(work, monkeypatch):
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: True)  # the tests' process lives on
    monkeypatch.setattr(measuring, "STEPS_S", 0.0)
    monkeypatch.setattr(measuring, "_FORWARD_S", 0.0)
    monkeypatch.setattr(measuring, "_start_s", lambda: 1.5)
    [phase, *_], [device, *_] = work.params.phases, work.params.devices
    told = []
    measured = measure_machine(
        work,
        rates_of_thumb(a_machine()),
        canvas_px=(28, 28),
        phases=(phase,),
        devices=(device,),
        reporter=Reporter(lambda event: told.append(event.label)),
    )
    rates = measured.rates
    assert measured.num_steps == 2
    assert rates.start_s == 1.5
    assert set(rates.phase_gmacs_per_s) == {phase}
    assert 0 < rates.train_gmacs_per_s == rates.phase_gmacs_per_s[phase]
    assert rates.forward_gmacs_per_s > 0
    assert rates.measurement_s[device] > 0
    assert measured.memory_bytes > 10**7
    assert told[-1] == f"training steps of phase {phase}"


def test_measured_speed_decides_on_the_time_of_a_stage(work):
    [phase, *_] = work.params.phases
    rates = rates_of_thumb(a_machine())
    address = f"train_supernet@{phase}"
    amount = work.of_all()[address]
    one, two = (
        rates_of_thumb(a_machine(cores=cores)).seconds(address, amount) - rates.start_s
        for cores in (1, 2)
    )
    assert one == pytest.approx(2 * two)
