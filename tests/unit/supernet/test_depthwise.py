import pytest
import torch
import torch.nn.functional as F

from ofa_pipeline.supernet import depthwise
from ofa_pipeline.supernet.depthwise import depthwise_conv2d


def results(function, x, weight, stride):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = function(x, weight, stride)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return y.detach(), x.grad, weight.grad


def torch_convolution(x, weight, stride):
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=weight.shape[0])


@pytest.mark.parametrize("kernel_size", [3, 5, 7, 9])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("side_px", [1, 2, 7, 10])
def test_result_and_gradients_are_those_of_torch(kernel_size, stride, side_px):
    torch.manual_seed(0)
    x = torch.randn(3, 16, side_px, side_px + 1, dtype=torch.double)
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(16, 1, kernel_size, kernel_size, dtype=torch.double)
    expected = results(torch_convolution, x, weight, stride)
    found = results(lambda a, b, s: depthwise_conv2d(a, b, stride=s), x, weight, stride)
    assert torch.equal(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_cut_into_parts_has_the_same_gradient(monkeypatch):
    x, weight = torch.randn(5, 16, 8, 8), torch.randn(16, 1, 5, 5)
    monkeypatch.setattr(depthwise, "PART_BYTES", 2 * x[0].numel() * 4)
    expected = results(torch_convolution, x, weight, 1)
    found = results(lambda a, b, s: depthwise_conv2d(a, b, stride=s), x, weight, 1)
    torch.testing.assert_close(found[2], expected[2], rtol=1e-4, atol=1e-4)


def test_only_what_needs_a_gradient_gets_one():
    x, weight = torch.randn(2, 16, 8, 8), torch.randn(16, 1, 5, 5, requires_grad=True)
    depthwise_conv2d(x, weight, stride=1).sum().backward()
    assert weight.grad is not None
    assert x.grad is None


def test_the_layer_is_torchs_in_evaluation_mode_and_trains_with_the_fast_gradient():
    torch.manual_seed(0)
    layer = depthwise.DepthwiseConv2d(16, 5, stride=2)
    x = torch.randn(2, 16, 9, 9)
    assert torch.equal(layer.eval()(x), layer.train()(x))
    assert "_DepthwiseConv" in type(layer.train()(x).grad_fn).__name__
    assert "_DepthwiseConv" not in type(layer.eval()(x).grad_fn).__name__
