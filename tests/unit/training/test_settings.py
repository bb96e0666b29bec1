import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.params import load_params
from ofa_pipeline.params.training import LargestOnlyParams
from ofa_pipeline.training import LargestOnly, build_teaching, learns_from_previous, phase_of
from ofa_pipeline.training.recipes import recipe_names


@pytest.fixture(scope="module")
def params(request):
    return load_params(request.config.rootpath / "params.yaml")


def test_a_phase_is_taught_as_params_say(params):
    space = params.space.build()
    [*_, last] = params.phases.values()
    sandwich = {"sampling": "sandwich", "subnets_per_step": 3}
    for name in recipe_names():
        settings = last.model_copy(update={**sandwich, "teacher": name})
        phase = phase_of("x", settings, space, training=params.training, steps_per_epoch=9)
        assert phase.teaching == build_teaching(name)


def test_the_first_subnet_teaches_only_where_it_is_the_largest(params):
    [*_, last] = params.phases.values()
    settings = last.model_copy(update={"teacher": "in_place", "sampling": "uniform"})
    with pytest.raises(ParamsError, match=r"phases\.x\.sampling must be sandwich"):
        phase_of("x", settings, params.space.build(), training=params.training, steps_per_epoch=9)


@pytest.mark.parametrize(
    ("batch_size", "base", "scale"), [(64, 64, 1), (256, 64, 2), (16, 64, 0.25), (256, None, 1)]
)
def test_learning_rates_go_with_the_batch(params, batch_size, base, scale):
    training = params.training.model_copy(
        update={"batch_size": batch_size, "base_batch_size": base}
    )
    for name, settings in params.phases.items():
        phase = phase_of(name, settings, params.space.build(), training=training, steps_per_epoch=9)
        assert phase.schedule.learning_rate == settings.learning_rate * scale


def test_every_key_of_a_phase_reaches_it(params):
    [*_, last] = params.phases.values()
    settings = last.model_copy(
        update={
            "loss": "alpha",
            "largest_only": LargestOnlyParams(dropout=0.2, label_smoothing=0.1),
            "clip_value": 0.25,
            "resolution": "step",
            "ramp_epochs": 2,
            "space": "coupled",
        }
    )
    phase = phase_of(
        "x", settings, params.space.build(), training=params.training, steps_per_epoch=9
    )
    assert phase.teaching == build_teaching("in_place", loss="alpha")
    assert phase.largest_only == LargestOnly(dropout=0.2, label_smoothing=0.1)
    assert (phase.clip_value, phase.ramp_steps) == (0.25, 18)
    assert phase.archs.shares_resolution
    assert phase.archs.space.is_coupled


@pytest.mark.parametrize(
    ("teacher", "start_from", "expected"),
    [
        ("previous", "supernet/largest", True),
        ("previous", "dataset", False),
        ("in_place", "supernet/largest", False),
        ("none", "supernet/largest", False),
    ],
)
def test_who_learns_from_the_phase_before(params, teacher, start_from, expected):
    [*_, last] = params.phases.values()
    settings = last.model_copy(update={"teacher": teacher, "start_from": start_from})
    assert learns_from_previous(settings) is expected


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(ParamsError, match=r"unknown recipe 'in-place'.*in_place"):
        build_teaching("in-place")
