import numpy as np
import pytest

from ofa_pipeline.errors import ArchError
from ofa_pipeline.search.trial_params import arch_of, distributions, params_of
from tests.support.synthetic import small_space


@pytest.fixture(scope="module")
def space():
    return small_space(num_groups=2)


def test_architectures_round_trip_through_parameters(space):
    for arch in space.archs(space.sample(np.random.default_rng(0), 20)):
        params = params_of(space, arch)
        assert set(params) == set(distributions(space))
        assert arch_of(space, params) == arch


def test_parameters_outside_the_choices_are_refused(space):
    params = {**params_of(space, space.largest), "kernel_size_0": 9}
    with pytest.raises(ArchError, match=r"kernel_size_0 .* must be one of"):
        arch_of(space, params)


def test_ratios_that_follow_depths_are_no_parameters(space):
    coupled = space.restrict(is_coupled=True)
    assert not [name for name in distributions(coupled) if name.startswith("expand_ratio")]
    for arch in coupled.archs(coupled.sample(np.random.default_rng(0), 20)):
        assert arch_of(coupled, params_of(coupled, arch)) == arch
