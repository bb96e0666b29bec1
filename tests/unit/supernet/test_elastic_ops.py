"""The elastic layers: full size without copies, any smaller size as a prefix."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_pipeline.supernet.blocks import activate
from ofa_pipeline.supernet.elastic_ops import (
    ElasticBatchNorm,
    ElasticConv,
    ElasticDepthwiseConv,
    ElasticLinear,
    ElasticSqueezeExcite,
    convolve,
    pointwise_product,
    prefix,
)


def randomized(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return module


def features(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, channels, 6, 6, generator=generator)


def test_a_prefix_of_the_full_size_is_the_tensor_itself():
    tensor = torch.zeros(4, 3)
    assert prefix(tensor, 4, 3) is tensor
    assert prefix(tensor, 2).shape == (2, 3)
    assert prefix(tensor, 2).data_ptr() == tensor.data_ptr()


def test_the_largest_kernels_are_the_parameters_themselves():
    conv = ElasticDepthwiseConv(8, (3, 5, 7), stride=1)
    assert conv.kernel(8, 7) is conv.weight


def test_convolution_uses_the_first_channels():
    conv = randomized(ElasticConv(6, 8, kernel_size=3, stride=2))
    x = features(4)
    expected = F.conv2d(x, conv.weight[:5, :4], stride=2, padding=1)
    torch.testing.assert_close(conv(x, out_channels=5), expected)


def test_convolution_gives_no_gradient_to_inactive_channels():
    conv = randomized(ElasticConv(6, 8))
    conv(features(4), out_channels=5).sum().backward()
    assert conv.weight.grad[:5, :4].abs().min() > 0
    assert conv.weight.grad[5:].abs().max() == 0
    assert conv.weight.grad[:, 4:].abs().max() == 0


def test_smaller_kernels_are_transformed_centers():
    conv = randomized(ElasticDepthwiseConv(8, (3, 5, 7), stride=1))
    center = conv.weight[:6, 0, 1:6, 1:6].reshape(6, 25)
    five = center @ conv.transforms["7_to_5"].T
    torch.testing.assert_close(conv.kernel(6, 5), five.view(6, 1, 5, 5))
    center = five.view(6, 5, 5)[:, 1:4, 1:4].reshape(6, 9)
    three = center @ conv.transforms["5_to_3"].T
    torch.testing.assert_close(conv.kernel(6, 3), three.view(6, 1, 3, 3))


def test_kernel_sizes_may_leave_one_out():
    conv = randomized(ElasticDepthwiseConv(8, (3, 7), stride=1))
    assert set(conv.transforms) == {"7_to_3"}
    assert conv.kernel(8, 3).shape == (8, 1, 3, 3)


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolution_keeps_channels_apart(kernel_size, stride):
    # In float64: kernels of one channel are another matrix product than those of six.
    conv = randomized(ElasticDepthwiseConv(8, (3, 5, 7), stride=stride).double())
    y = conv(features(6).double(), kernel_size=kernel_size)
    assert y.shape == (3, 6, 6 // stride, 6 // stride)
    alone = conv(features(6)[:, :1].double(), kernel_size=kernel_size)
    torch.testing.assert_close(y[:, :1], alone)


def test_gradients_reach_kernel_transforms_only_when_they_are_used():
    conv = randomized(ElasticDepthwiseConv(8, (3, 5, 7), stride=1))
    conv(features(8), kernel_size=5).sum().backward()
    assert conv.transforms["7_to_5"].grad is not None
    assert conv.transforms["5_to_3"].grad is None


def test_batch_norm_in_training_uses_the_batch_and_leaves_its_statistics_alone():
    norm = randomized(ElasticBatchNorm(8, eps=1e-5)).train()
    before = norm.running_mean.clone(), norm.running_var.clone()
    y = norm(features(6))
    mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
    torch.testing.assert_close(mean, norm.bias[:6], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(var, norm.weight[:6] ** 2, atol=1e-3, rtol=1e-3)
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])


def test_batch_norm_of_groups_in_one_pass_is_that_of_each_group():
    norm = randomized(ElasticBatchNorm(8, eps=1e-5)).double().train()
    x = torch.randn(6, 5, 4, 3, dtype=torch.float64, requires_grad=True)
    expected = torch.cat([norm(group) for group in x.split(2)])
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    norm.images_per_group = 2
    found = norm(x.contiguous(memory_format=torch.channels_last))
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gradient, wanted, atol=1e-10, rtol=1e-10)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_batch_norm_of_groups_needs_whole_groups_and_leaves_evaluation_alone():
    norm = randomized(ElasticBatchNorm(8, eps=1e-5))
    norm.images_per_group = 4
    with pytest.raises(RuntimeError):
        norm.train()(torch.ones(6, 8, 2, 2))
    x = features(6)
    alone = norm.eval()(x)
    norm.images_per_group = None
    assert torch.equal(norm(x), alone)


def test_batch_norm_in_evaluation_uses_its_statistics():
    norm = randomized(ElasticBatchNorm(8, eps=1e-5)).eval()
    x = features(6)
    expected = F.batch_norm(
        x, norm.running_mean[:6], norm.running_var[:6], norm.weight[:6], norm.bias[:6], eps=1e-5
    )
    torch.testing.assert_close(norm(x), expected)


def test_linear_takes_any_number_of_features():
    linear = randomized(ElasticLinear(6, 8))
    x = torch.ones(2, 4)
    expected = F.linear(x, linear.weight[:5, :4], linear.bias[:5])
    torch.testing.assert_close(linear(x, out_features=5), expected)


def test_linear_may_have_no_bias():
    linear = randomized(ElasticLinear(6, 8, bias=False))
    assert linear(torch.zeros(1, 6)).abs().max() == 0


def test_squeeze_excite_scales_channels_by_the_first_hidden_units():
    se = randomized(ElasticSqueezeExcite(64))
    x = features(32)
    pooled = x.mean((2, 3))
    hidden = F.relu(F.linear(pooled, se.reduce.weight[:8, :32], se.reduce.bias[:8]))
    scale = F.hardsigmoid(F.linear(hidden, se.expand.weight[:32, :8], se.expand.bias[:32]))
    torch.testing.assert_close(se(x), x * scale[:, :, None, None])


def test_a_convolution_of_one_pixel_is_a_product_with_the_same_gradients():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 4, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(7, 5, 1, 1, generator=generator, dtype=torch.float64)
    found = {}
    for compute in (convolve, pointwise_product):
        inputs = [x.to(memory_format=torch.channels_last).requires_grad_()]
        inputs.append(weight.clone().requires_grad_())
        result = compute(*inputs)
        assert result.is_contiguous(memory_format=torch.channels_last)
        found[compute] = (result, *torch.autograd.grad((result**2).sum(), inputs))
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_activation_behind_batch_norm_of_groups_copies_no_gradients():
    """In place in a view, autograd would copy the gradient of all behind it."""
    norm = ElasticBatchNorm(4, eps=1e-5)
    norm.images_per_group = 2
    x = torch.randn(6, 4, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    found = activate(norm(x), "relu")
    assert "CopySlices" not in graph_of(found)
    expected = torch.cat([ElasticBatchNorm(4, eps=1e-5)(part) for part in x.split(2)]).relu()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def graph_of(tensor):
    """Return the names of the operations that a result is made by."""
    names, open_nodes = set(), [tensor.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is not None:
            names.add(type(node).__name__)
            open_nodes += [following for following, _ in node.next_functions]
    return names
