"""The depthwise convolution with the fast gradient: torch's result, torch's gradient."""

import pytest
import torch
import torch.nn.functional as F

from ofa_pipeline.supernet.depthwise import depthwise_conv2d


@pytest.mark.parametrize("kernel_size", [3, 5, 7, 9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side_px", [1, 2, 5, 8, 13])
def test_result_and_gradients_are_torchs(kernel_size, stride, side_px):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 8, side_px, side_px, generator=generator, dtype=torch.float64)
    weight = torch.randn(8, 1, kernel_size, kernel_size, generator=generator, dtype=torch.float64)
    results = []
    for convolve in (_plain, depthwise_conv2d):
        inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
        y = convolve(*inputs, stride=stride)
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
        results.append((y.detach(), inputs[0].grad, inputs[1].grad))
    plain, ours = results
    assert torch.equal(ours[0], plain[0])
    torch.testing.assert_close(ours[1:], plain[1:])


def test_images_that_need_no_gradient_get_none():
    x = torch.ones(2, 4, 6, 6)
    weight = torch.ones(4, 1, 5, 5, requires_grad=True)
    depthwise_conv2d(x, weight, stride=1).sum().backward()
    assert x.grad is None
    assert weight.grad is not None


def test_a_fixed_weight_still_passes_the_gradient_on():
    x = torch.ones(2, 4, 6, 6, requires_grad=True)
    depthwise_conv2d(x, torch.ones(4, 1, 5, 5), stride=1).sum().backward()
    assert x.grad is not None


def _plain(x: torch.Tensor, weight: torch.Tensor, *, stride: int) -> torch.Tensor:
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=x.shape[1])
