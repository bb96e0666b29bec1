"""A stage is given the sections of params.yaml that it declares, and no others."""

import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.params import load_params
from ofa_pipeline.stages.given import declared_params

DEVICE = "cpu-pytorch"


@pytest.fixture(scope="module")
def params(request):
    return load_params(request.config.rootpath / "params.yaml")


def test_what_is_declared_is_there_as_it_is(params):
    given = declared_params(params, ["space", "final_phase"], stage="train")
    assert given.space is params.space
    assert given.final_phase == params.final_phase


def test_another_section_is_refused_by_name_with_what_to_do(params):
    given = declared_params(params, ["space", "training"], stage="train_supernet")
    with pytest.raises(ParamsError) as caught:
        given.search  # noqa: B018
    text = str(caught.value)
    assert "stage train_supernet is given space, training of params.yaml" in text
    assert "asked for search" in text
    assert "Declare the section in STAGES" in text


def test_a_part_of_a_section_is_all_of_it_that_is_given(params):
    given = declared_params(params, ["dataset.source"], stage="list_source")
    assert given.dataset.source == params.dataset.source
    with pytest.raises(ParamsError, match=r"asked for dataset\.seed"):
        given.dataset.seed  # noqa: B018


def test_a_device_is_given_without_its_budgets_and_alone(params):
    given = declared_params(params, [f"devices.{DEVICE}.card"], stage="profile_latency")
    assert list(given.devices) == [DEVICE]
    assert given.devices[DEVICE].card is params.devices[DEVICE].card
    with pytest.raises(ParamsError, match=rf"asked for devices\.{DEVICE}\.budgets_ms"):
        given.devices[DEVICE].budgets_ms  # noqa: B018


def test_two_parts_of_one_section_are_both_given(params):
    given = declared_params(params, ["dataset.seed", "dataset.source"], stage="any")
    assert (given.dataset.seed, given.dataset.source) == (
        params.dataset.seed,
        params.dataset.source,
    )
