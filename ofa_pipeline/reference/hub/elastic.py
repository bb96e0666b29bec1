"""Layers with an active size: they compute with the first part of their weights.

Each is torch's own layer of the largest size that is told how much of itself to use, so hooks,
pruning and parametrizations of that layer work, and tracing meets plain numbers. In the
reference's names such a layer lies one level deeper than in a static network
(``conv.conv.weight``, ``bn.bn.weight``): the holders here are that level.
"""

import copy
import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_pipeline.arch import squeezed_channels
from ofa_pipeline.reference.hub.layers import PointwiseConv2d, SqueezeExcite, pointwise_conv2d


class Elastic(nn.Module):
    """What can be taken out of a supernet: a plain copy of the part that is active."""

    def extract(self) -> nn.Module:
        """Return a plain module of the active sizes, with weights of its own."""
        raise NotImplementedError


class ElasticLayer(Elastic):
    """A layer of the largest size, of which the first inputs and outputs are active."""

    active_in: int
    active_out: int

    def resize(self, *, inputs: int | None = None, outputs: int | None = None) -> None:
        """Set how many inputs and outputs are active; None leaves a number as it is."""
        self.active_in = inputs or self.active_in
        self.active_out = outputs or self.active_out


def resize(module: nn.Module, *, inputs: int | None = None, outputs: int | None = None) -> None:
    """Resize the elastic layers in a module, whatever a user has put around or in place of them."""
    if isinstance(module, ElasticLayer):
        module.resize(inputs=inputs, outputs=outputs)
        return
    for child in module.children():
        resize(child, inputs=inputs, outputs=outputs)


def extract(module: nn.Module) -> nn.Module:
    """Return a copy of a module with every elastic part in it extracted."""
    if isinstance(module, Elastic):
        return module.extract()
    # What the memo holds is taken by deepcopy as the copy of the object with that id.
    memo: dict[int, object] = {id(part): part.extract() for part in _outermost(module)}
    return copy.deepcopy(module, memo)


def _outermost(module: nn.Module) -> Iterator[Elastic]:
    for child in module.children():
        if isinstance(child, Elastic):
            yield child
        else:
            yield from _outermost(child)


class PrefixConv2d(ElasticLayer, nn.Conv2d):
    """`torch.nn.Conv2d` without bias of any number of channels."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        """Hold the weight of the largest size; it keeps the image's size at stride 1."""
        nn.Conv2d.__init__(
            self, in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False
        )
        self.active_in, self.active_out = in_channels, out_channels

    def _active_weight(self) -> Tensor:
        is_whole = (self.active_out, self.active_in) == (self.out_channels, self.in_channels)
        return self.weight if is_whole else self.weight[: self.active_out, : self.active_in]

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, H, W), C the active inputs."""
        # Every argument is spelled out, because quantization rewrites the call.
        return F.conv2d(
            input, self._active_weight(), None, self.stride, self.padding, self.dilation, 1
        )

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return `torch.nn.Conv2d` of the active sizes."""
        plain = nn.Conv2d(
            self.active_in,
            self.active_out,
            self.kernel_size,  # type: ignore[arg-type]  # torch keeps a pair
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            bias=False,
            device="meta",
        )
        plain.weight = _own(self._active_weight())
        return plain


class PrefixDepthwiseConv2d(ElasticLayer, nn.Conv2d):
    """Depthwise `torch.nn.Conv2d` of any number of channels and several kernel sizes."""

    def __init__(self, channels: int, kernel_sizes: Sequence[int], stride: int) -> None:
        """Hold the largest kernels."""
        largest = max(kernel_sizes)
        nn.Conv2d.__init__(
            self, channels, channels, largest, stride, largest // 2, groups=channels, bias=False
        )
        self.kernel_sizes = tuple(kernel_sizes)
        self.active_kernel_size = largest
        self.active_in = self.active_out = channels

    def kernel(self, matrices: Sequence[Tensor]) -> Tensor:
        """Return the active kernels, shape (C, 1, K, K).

        Args:
            matrices: From each size to the next smaller one, the largest size first.
        """
        channels = self.active_out
        weight = self.weight if channels == self.out_channels else self.weight[:channels]
        for (size, smaller), matrix in zip(_steps(self.kernel_sizes), matrices, strict=True):
            if smaller < self.active_kernel_size:
                break
            margin = (size - smaller) // 2
            center = weight[:, 0, margin : margin + smaller, margin : margin + smaller]
            flat = F.linear(center.reshape(channels, smaller**2), matrix)
            weight = flat.view(channels, 1, smaller, smaller)
        return weight

    def forward(self, input: Tensor, *matrices: Tensor) -> Tensor:
        """Convolve each channel of (N, C, H, W) with its own kernel."""
        margin = (self.active_kernel_size // 2,) * 2
        kernel, groups = self.kernel(matrices), self.active_out
        return F.conv2d(input, kernel, None, self.stride, margin, self.dilation, groups)


class PrefixBatchNorm2d(ElasticLayer, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` of any number of channels; training updates the active statistics."""

    def __init__(self, channels: int, *, eps: float, momentum: float) -> None:
        """Hold scale, shift and statistics of the largest size."""
        nn.BatchNorm2d.__init__(self, channels, eps=eps, momentum=momentum)
        self.active_in = self.active_out = channels

    def _active(self, tensor: Tensor | None) -> Tensor | None:
        if tensor is None or self.active_out == self.num_features:
            return tensor
        return tensor[: self.active_out]

    def _share_of_batch(self) -> float:
        """Return the weight of the batch in the statistics, and count the batch."""
        if not (self.training and self.track_running_stats):
            return 0.0
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        if self.momentum is None:
            return 1.0 / float(self.num_batches_tracked)
        return self.momentum

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, C, H, W)."""
        share = self._share_of_batch()
        has_statistics = self.running_mean is not None
        return F.batch_norm(
            input,
            self._active(self.running_mean),
            self._active(self.running_var),
            self._active(self.weight),
            self._active(self.bias),
            self.training or not has_statistics,
            share,
            self.eps,
        )

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return `torch.nn.BatchNorm2d` of the active size, with the statistics of this one."""
        plain = nn.BatchNorm2d(
            self.active_out,
            eps=self.eps,
            momentum=self.momentum,
            track_running_stats=self.track_running_stats,
            device="meta",
        )
        for name in ("weight", "bias"):
            setattr(plain, name, _own(self._active(getattr(self, name))))
        for name in ("running_mean", "running_var"):
            value = self._active(getattr(self, name))
            setattr(plain, name, None if value is None else value.clone())
        if self.num_batches_tracked is not None:
            plain.num_batches_tracked = torch.zeros_like(self.num_batches_tracked)
        return plain


class PrefixLinear(ElasticLayer, nn.Linear):
    """`torch.nn.Linear` of any number of input features."""

    def __init__(self, in_features: int, out_features: int) -> None:
        """Hold the weight of the largest size."""
        nn.Linear.__init__(self, in_features, out_features)
        self.active_in, self.active_out = in_features, out_features

    def _active_weight(self) -> Tensor:
        if self.active_in == self.in_features:
            return self.weight
        # A contiguous copy of a slice gives the very bits that the extracted layer gives.
        return self.weight[:, : self.active_in].contiguous()

    def forward(self, input: Tensor) -> Tensor:
        """Transform (N, C), C the active inputs."""
        return F.linear(input, self._active_weight(), self.bias)

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return `torch.nn.Linear` of the active size."""
        plain = nn.Linear(self.active_in, self.out_features, device="meta")
        plain.weight, plain.bias = _own(self._active_weight()), _own(self.bias)
        return plain


class PrefixPointwiseConv2d(ElasticLayer, PointwiseConv2d):
    """`PointwiseConv2d` of any number of channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Hold weight and bias of the largest size."""
        PointwiseConv2d.__init__(self, in_channels, out_channels, bias=True)
        self.active_in, self.active_out = in_channels, out_channels

    def _active(self) -> tuple[Tensor, Tensor]:
        assert self.bias is not None
        if (self.active_out, self.active_in) == (self.out_channels, self.in_channels):
            return self.weight, self.bias
        weight = self.weight[: self.active_out, : self.active_in]
        return weight.contiguous(), self.bias[: self.active_out]

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, H, W), C the active inputs."""
        return pointwise_conv2d(input, *self._active())

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return `PointwiseConv2d` of the active sizes."""
        with torch.device("meta"):
            plain = PointwiseConv2d(self.active_in, self.active_out, bias=True)
        plain.weight, plain.bias = (_own(tensor) for tensor in self._active())
        return plain


class ElasticSqueezeExcite(ElasticLayer, SqueezeExcite):
    """Squeeze-excite of any number of channels; the hidden units follow from it."""

    def __init__(self, channels: int) -> None:
        """Hold the two layers of the largest size."""
        hidden = squeezed_channels(channels)
        SqueezeExcite.__init__(
            self,
            reduce=PrefixPointwiseConv2d(channels, hidden),
            expand=PrefixPointwiseConv2d(hidden, channels),
        )
        self.active_in = self.active_out = channels

    def resize(self, *, inputs: int | None = None, outputs: int | None = None) -> None:
        """Set how many channels are active: as many come out as go in."""
        super().resize(inputs=inputs, outputs=outputs)
        hidden = squeezed_channels(self.active_out)
        resize(self.fc.get_submodule("reduce"), inputs=self.active_out, outputs=hidden)
        resize(self.fc.get_submodule("expand"), inputs=hidden, outputs=self.active_out)

    def extract(self) -> nn.Module:
        """Return `SqueezeExcite` of the active size."""
        layers = (self.fc.get_submodule(name) for name in ("reduce", "expand"))
        return SqueezeExcite(*(extract(layer) for layer in layers))


class Holder(Elastic):
    """The level that the names of supernets have more than those of static networks.

    Attributes:
        held: The name of what is held.
    """

    held: str

    def forward(self, x: Tensor) -> Tensor:
        """Apply what is held."""
        y: Tensor = getattr(self, self.held)(x)
        return y

    def extract(self) -> nn.Module:
        """Return what is held, extracted."""
        return extract(getattr(self, self.held))


class ElasticConv(Holder):
    """``conv``: a convolution of any number of channels."""

    held = "conv"

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 1, stride: int = 1
    ) -> None:
        """Hold the convolution of the largest size."""
        super().__init__()
        self.conv = PrefixConv2d(in_channels, out_channels, kernel_size, stride)


class ElasticBatchNorm(Holder):
    """``bn``: batch norm of any number of channels."""

    held = "bn"

    def __init__(self, channels: int, *, eps: float, momentum: float) -> None:
        """Hold the batch norm of the largest size."""
        super().__init__()
        self.bn = PrefixBatchNorm2d(channels, eps=eps, momentum=momentum)


class ElasticLinear(Holder):
    """``linear``: a fully connected layer of any number of input features."""

    held = "linear"

    def __init__(self, in_features: int, out_features: int) -> None:
        """Hold the layer of the largest size."""
        super().__init__()
        self.linear = PrefixLinear(in_features, out_features)


class ElasticDepthwiseConv(Holder):
    """``conv``, and a matrix from each kernel size to the next smaller one (``5to3_matrix``)."""

    held = "conv"

    def __init__(self, channels: int, kernel_sizes: Sequence[int], *, stride: int) -> None:
        """Hold the largest kernels, and matrices that change nothing."""
        super().__init__()
        self.conv = PrefixDepthwiseConv2d(channels, kernel_sizes, stride)
        self.matrix_names = tuple(
            f"{size}to{smaller}_matrix" for size, smaller in _steps(self.conv.kernel_sizes)
        )
        pairs = zip(self.matrix_names, _steps(kernel_sizes), strict=True)
        for name, (_, smaller) in reversed(tuple(pairs)):  # the reference's order
            self.register_parameter(name, nn.Parameter(torch.eye(smaller**2)))

    def _matrices(self) -> list[Tensor]:
        return [getattr(self, name) for name in self.matrix_names]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each channel of (N, C, H, W) with the active kernel."""
        y: Tensor = self.conv(x, *self._matrices())
        return y

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return `torch.nn.Conv2d` with the active kernels."""
        size, channels = self.conv.active_kernel_size, self.conv.active_out
        plain = nn.Conv2d(
            channels,
            channels,
            size,
            self.conv.stride,  # type: ignore[arg-type]  # torch keeps a pair
            size // 2,
            groups=channels,
            bias=False,
            device="meta",
        )
        plain.weight = _own(self.conv.kernel(self._matrices()))
        return plain


def _steps(kernel_sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Pair each kernel size with the next smaller one, the largest first."""
    return list(itertools.pairwise(sorted(kernel_sizes, reverse=True)))


def _own(tensor: Tensor | None) -> nn.Parameter:
    """Copy a tensor to a parameter, laid out as torch lays out its own."""
    assert tensor is not None
    return nn.Parameter(tensor.clone(memory_format=torch.contiguous_format))
