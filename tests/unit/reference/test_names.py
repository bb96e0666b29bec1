"""Our names and the reference's: one to one, in both spellings."""

import pytest

from ofa_pipeline.reference.names import reference_names, to_reference
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space
from ofa_pipeline.supernet.build import empty_subnet, empty_supernet
from tests.support.networks import random_supernet, tiny_space


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
@pytest.mark.parametrize("spelling", ["supernet", "static"])
def test_every_name_has_a_key_of_its_own(space_id, spelling):
    supernet = empty_supernet(reference_space(space_id), num_classes=10, dropout=0.0)
    names = reference_names(supernet, spelling)
    assert names.keys() == supernet.state_dict().keys()
    assert len(set(names.values())) == len(names)


def test_static_networks_number_the_blocks_that_run():
    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
    subnet = empty_subnet(space, space.smallest, num_classes=10, dropout=0.0)
    names = reference_names(subnet, "static")
    assert names["groups.1.0.expand.conv.weight"] == "blocks.3.conv.inverted_bottleneck.conv.weight"


def test_the_stem_of_resnet_is_renumbered_when_its_block_is_skipped():
    space = reference_space("ofa_resnet50")
    whole = empty_subnet(space, space.largest, num_classes=10, dropout=0.0)
    skipped = empty_subnet(space, space.smallest, num_classes=10, dropout=0.0)
    name = "stem_out.conv.weight"
    assert reference_names(whole, "static")[name] == "input_stem.2.conv.weight"
    assert reference_names(skipped, "static")[name] == "input_stem.1.conv.weight"


def test_fully_connected_layers_that_are_convolutions_there_get_their_shape():
    state = to_reference(random_supernet(tiny_space()))
    assert state["feature_mix_layer.conv.weight"].shape == (40, 32, 1, 1)
    assert state["blocks.3.conv.depth_conv.se.fc.reduce.weight"].ndim == 4
    assert state["classifier.linear.weight"].ndim == 2
