import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import ElasticBatchNorm, build_supernet, compile_regions
from ofa_pipeline.supernet.blocks import activate
from tests.support.networks import NUM_CLASSES, random_supernet, tiny_space

# Of torch.compile itself, which looks at every input.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


def grouped(network, images_per_group):
    for module in network.modules():
        if isinstance(module, ElasticBatchNorm):
            module.images_per_group = images_per_group
    return network


def learned(network, images, arch):
    logits = network(images, arch)
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
    gradients = torch.autograd.grad(
        (logits * weights).square().sum(), list(network.parameters()), allow_unused=True
    )
    return [logits, *gradients]


@pytest.mark.parametrize("images_per_group", [None, 2])
def test_a_region_gives_the_logits_and_gradients_of_single_operations(images_per_group):
    space = tiny_space()
    network = random_supernet(space).double().train()
    plain = grouped(copy.deepcopy(network), images_per_group)
    compile_regions(network, backend="aot_eager")
    fused = copy.deepcopy(grouped(network, images_per_group))  # as training does, a replica each
    for arch in (space.largest, *space.archs(space.sample(np.random.default_rng(0), 1))):
        images = torch.randn(4, 3, arch.resolution_px, arch.resolution_px, dtype=torch.float64)
        found, expected = (learned(one, images, arch) for one in (fused, plain))
        for here, there in zip(found, expected, strict=True):
            assert (here is None) == (there is None)
            if here is not None:
                torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-9)


def test_sizes_are_symbols_so_that_few_regions_are_compiled():
    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
    network = build_supernet(space, num_classes=NUM_CLASSES, seed=0).train()
    torch._dynamo.reset()
    compile_regions(network, backend="aot_eager")
    counts, begun = [], torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for arch in space.archs(space.sample(np.random.default_rng(0), 4)):
        network(torch.randn(2, 3, 64 + 32 * len(counts), 64 + 32 * len(counts)), arch)
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"] - begun)
    assert counts[0] > 0
    assert counts[-1] <= 8, counts
    assert counts[-1] == counts[2], counts


def test_evaluation_and_buffers_are_left_alone():
    space = tiny_space()
    plain = build_supernet(space, num_classes=NUM_CLASSES, seed=0)
    fused = copy.deepcopy(plain)
    compile_regions(fused, backend="aot_eager")
    images = torch.randn(2, 3, 12, 12)
    fused.train()(images, space.largest)
    assert torch.equal(fused.eval()(images, space.largest), plain.eval()(images, space.largest))
    assert fused.state_dict().keys() == plain.state_dict().keys()


def test_features_of_bfloat16_are_normalized_in_float32():
    norm = ElasticBatchNorm(8, eps=1e-5).train()
    compile_regions(norm, backend="aot_eager")
    x = 100 + torch.randn(4, 8, 16, 16, dtype=torch.bfloat16)
    assert norm.region is not None
    found = norm.region(norm, x, "h_swish")
    expected = activate(F.batch_norm(x.float(), None, None, training=True, eps=1e-5), "h_swish")
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=0.01)
