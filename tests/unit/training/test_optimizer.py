import pytest
import torch

from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training.optimizer import build_optimizer, parameter_groups, set_learning_rate
from tests.support.training import tiny_space


@pytest.fixture
def supernet():
    return build_supernet(tiny_space(), num_classes=3)


def test_norm_bias_and_kernel_transforms_do_not_decay(supernet):
    names = {id(parameter): name for name, parameter in supernet.named_parameters()}
    decayed, free = parameter_groups(supernet, weight_decay=0.1)
    free_names = {names[id(p)] for p in free["params"]}
    decayed_names = {names[id(p)] for p in decayed["params"]}
    assert free["weight_decay"] == 0
    assert {n for n in names.values() if "transforms" in n or "norm" in n or "bias" in n} == (
        free_names
    )
    assert all(
        n.endswith((".conv.weight", "linear.weight", "reduce.weight", "expand.weight"))
        or n == "classifier.weight"
        for n in decayed_names
    )
    assert len(free_names) + len(decayed_names) == len(names)


def test_a_weight_that_no_subnet_used_still_decays(supernet):
    optimizer = build_optimizer(supernet, momentum=0.9, weight_decay=0.1)
    set_learning_rate(optimizer, 1.0)
    unused = supernet.groups[1][1].project.conv.weight
    before = unused.detach().clone()
    supernet.train()(torch.randn(4, 3, 8, 8), tiny_space().smallest).sum().backward()
    optimizer.step()
    # Nesterov momentum: the first update is (1 + momentum) times the decay.
    torch.testing.assert_close(unused, before * (1 - 1.9 * 0.1))


def test_kernel_transforms_stay_at_identity_while_no_smaller_kernel_is_trained(supernet):
    optimizer = build_optimizer(supernet, momentum=0.9, weight_decay=0.1)
    set_learning_rate(optimizer, 1.0)
    supernet.train()(torch.randn(4, 3, 8, 8), tiny_space().largest).sum().backward()
    optimizer.step()
    matrix = supernet.groups[0][0].depthwise.conv.transforms["5_to_3"]
    assert torch.equal(matrix, torch.eye(9))
