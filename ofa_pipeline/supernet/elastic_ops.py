"""Layers whose sizes are arguments of `forward`: a smaller layer is a prefix of the full one.

Legend: N batch, C channels, H W pixels, K kernel size.

Every layer works with any size up to its own. At the full size it uses its parameters
themselves, not copies. Parameters and buffers are called as those of the plain layers in
`ofa_pipeline.supernet.subnet`, so that extraction copies by name.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_pipeline.arch import Activation, squeezed_channels
from ofa_pipeline.supernet.depthwise import depthwise_conv2d

Region = Callable[["ElasticBatchNorm", Tensor, Activation | None], Tensor]


def prefix(tensor: Tensor, *sizes: int) -> Tensor:
    """Return the first entries of the leading dimensions: a view, or the tensor itself."""
    for dim, size in enumerate(sizes):
        if tensor.shape[dim] != size:
            tensor = tensor.narrow(dim, 0, size)
    return tensor


def convolve(x: Tensor, weight: Tensor, *, stride: int = 1) -> Tensor:
    """Convolve (N, C, H, W) with (O, C, K, K), padded to keep the size at stride 1.

    On CUDA a convolution of one pixel is a matrix product: for each new shape of a convolution
    cuDNN takes some ten milliseconds a kernel to choose and load it, and slices make many shapes.
    """
    size = weight.shape[-1]
    if x.is_cuda and size == stride == 1:
        return pointwise_product(x, weight)
    return F.conv2d(x, weight, stride=stride, padding=size // 2)


def pointwise_product(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (N, C, H, W) with (O, C, 1, 1) as a product; of channels-last features, no copy."""
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)


class ElasticConv(nn.Module):
    """Convolution without bias that takes any number of input and output channels."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 1, stride: int = 1
    ) -> None:
        """Hold the weight of the largest size, shape (out, in, K, K)."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.stride = stride

    def forward(self, x: Tensor, *, out_channels: int | None = None) -> Tensor:
        """Convolve (N, C, H, W) with as many input channels as `x` has.

        Args:
            x: Features; any number of channels up to the layer's.
            out_channels: Number of output channels; the layer's when left out.
        """
        weight = prefix(self.weight, out_channels or self.weight.shape[0], x.shape[1])
        return convolve(x, weight, stride=self.stride)


class ElasticDepthwiseConv(nn.Module):
    """Depthwise convolution of any number of channels and any of its kernel sizes.

    The next smaller kernel is the center of the larger one, transformed by a learned matrix
    that all channels share.

    Source:
        Cai et al. 2020 (arXiv:1908.09791), section 3.3, "elastic kernel size".
    """

    def __init__(self, channels: int, kernel_sizes: Sequence[int], *, stride: int) -> None:
        """Hold the largest kernels, shape (C, 1, K, K), and a matrix for each smaller size."""
        super().__init__()
        self.kernel_sizes = tuple(kernel_sizes)
        largest = self.kernel_sizes[-1]
        self.weight = nn.Parameter(torch.empty(channels, 1, largest, largest))
        self.stride = stride
        self.transforms = nn.ParameterDict(
            {
                f"{larger}_to_{smaller}": nn.Parameter(torch.empty(smaller**2, smaller**2))
                for smaller, larger in itertools.pairwise(kernel_sizes)
            }
        )

    def kernel(self, channels: int, kernel_size: int) -> Tensor:
        """Return the kernels of the first channels, shape (C, 1, K, K)."""
        weight = prefix(self.weight, channels)
        size = self.kernel_sizes[-1]
        for smaller in reversed(self.kernel_sizes[:-1]):
            if smaller < kernel_size:
                break
            weight, size = self._center(weight, size, smaller), smaller
        return weight

    def smaller_kernels(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the sizes below the largest, larger first, with the kernels of all channels."""
        size = self.kernel_sizes[-1]
        weight = prefix(self.weight, len(self.weight))
        for smaller in reversed(self.kernel_sizes[:-1]):
            weight, size = self._center(weight, size, smaller), smaller
            yield smaller, weight

    def _center(self, weight: Tensor, size: int, smaller: int) -> Tensor:
        """Return the next smaller kernels of some channels."""
        channels, margin = len(weight), (size - smaller) // 2
        center = weight[:, 0, margin : margin + smaller, margin : margin + smaller]
        flat = center.reshape(channels, smaller**2)
        transformed = F.linear(flat, self.transforms[f"{size}_to_{smaller}"])
        return transformed.view(channels, 1, smaller, smaller)

    def forward(self, x: Tensor, *, kernel_size: int) -> Tensor:
        """Convolve each channel of (N, C, H, W) with its own kernel."""
        return depthwise_conv2d(x, self.kernel(x.shape[1], kernel_size), stride=self.stride)


class ElasticBatchNorm(nn.Module):
    """Batch normalization of any number of channels.

    In training mode it normalizes with the statistics of the batch and leaves its buffers
    alone: no subnet's statistics fit another, so the buffers are only ever written on purpose
    (`store_statistics`), with those of the largest subnet. They are used in evaluation mode.
    """

    running_mean: Tensor
    running_var: Tensor
    images_per_group: int | None = None
    """Images that share statistics in training mode; None: all of the batch. The groups of a batch
    are normalized in one operation ("ghost batch norm", Hoffer et al. 2017, arXiv:1705.08741)."""
    region: Region | None = None
    """What normalizes and activates at once in training mode
    (`ofa_pipeline.supernet.regions.compile_regions`); None: torch's own kernels, one by one."""

    def __init__(self, channels: int, *, eps: float) -> None:
        """Hold scale, shift and statistics of the largest size."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, C, H, W); in training mode N is a multiple of `images_per_group`."""
        channels = x.shape[1]
        group = self.images_per_group
        if self.training and group is not None and group < len(x):
            return self._normalize_groups(x, group)
        return F.batch_norm(
            x,
            None if self.training else prefix(self.running_mean, channels),
            None if self.training else prefix(self.running_var, channels),
            prefix(self.weight, channels),
            prefix(self.bias, channels),
            training=self.training,
            eps=self.eps,
        )

    def _normalize_groups(self, x: Tensor, images: int) -> Tensor:
        """Normalize each channel of each group of images with statistics of its own."""
        num_images, channels, height, width = x.shape
        groups = num_images // images
        # The channels of all groups side by side; the memory stays channels-last.
        apart = x.permute(0, 2, 3, 1).reshape(groups, images, height, width, channels)
        beside = apart.permute(1, 2, 3, 0, 4).reshape(images, height, width, groups * channels)
        normalized = F.batch_norm(
            beside.permute(0, 3, 1, 2),
            None,
            None,
            prefix(self.weight, channels).repeat(groups),
            prefix(self.bias, channels).repeat(groups),
            training=True,
            eps=self.eps,
        )
        beside = normalized.permute(0, 2, 3, 1).reshape(images, height, width, groups, channels)
        joined = beside.permute(3, 0, 1, 2, 4).reshape(num_images, height, width, channels)
        return joined.permute(0, 3, 1, 2)


class ElasticLinear(nn.Module):
    """Fully connected layer of any number of input and output features."""

    bias: nn.Parameter | None

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        """Hold the weight of the largest size, shape (out, in)."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        if bias:
            self.bias = nn.Parameter(torch.zeros(out_features))
        else:
            self.register_parameter("bias", None)

    def forward(self, x: Tensor, *, out_features: int | None = None) -> Tensor:
        """Transform (N, C) with as many input features as `x` has."""
        out = out_features or self.weight.shape[0]
        # A contiguous copy of a slice gives the very bits that the extracted layer gives.
        weight = prefix(self.weight, out, x.shape[1]).contiguous()
        return F.linear(x, weight, None if self.bias is None else prefix(self.bias, out))


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-excite over any number of channels; the hidden units follow from it.

    Source:
        Howard et al. 2019 (arXiv:1905.02244), section 5.3. Works on (N, C) features with
        fully connected layers, which is the same as 1x1 convolutions at 1x1 pixels, and faster.
    """

    def __init__(self, channels: int) -> None:
        """Hold the two layers of the largest size."""
        super().__init__()
        hidden = squeezed_channels(channels)
        self.reduce = ElasticLinear(channels, hidden)
        self.expand = ElasticLinear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel of (N, C, H, W)."""
        channels = x.shape[1]
        pooled = x.mean((2, 3))
        hidden = F.relu(self.reduce(pooled, out_features=squeezed_channels(channels)))
        scale = F.hardsigmoid(self.expand(hidden, out_features=channels))
        return x * scale[:, :, None, None]
