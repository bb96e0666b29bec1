"""The supernet: shared weights of every architecture of a space, the architecture an argument."""

import itertools

import torch
from torch import Tensor, nn

from ofa_pipeline.arch import (
    Arch,
    MBConvBackbone,
    SearchSpace,
    first_mbconv_shape,
    mbconv_shapes,
)
from ofa_pipeline.supernet.blocks import ElasticConvNorm, ElasticMBConv, activate
from ofa_pipeline.supernet.dropout import drop_connect_rates, dropout
from ofa_pipeline.supernet.elastic_ops import ElasticConv, ElasticLinear


class ElasticFeatureMix(nn.Module):
    """MobileNetV3's last hidden layer, on pooled (N, C) features."""

    def __init__(self, in_features: int, out_features: int) -> None:
        """Hold the weight."""
        super().__init__()
        self.linear = ElasticLinear(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C)."""
        mixed: Tensor = self.linear(x)
        return mixed


class MBConvSupernet(nn.Module):
    """Every architecture of a space of MBConv blocks (MobileNetV3, ProxylessNAS).

    The architecture is an argument of `forward`; the module has no active subnet. Its
    parameters are called as those of the largest subnet.

    In training mode batch norm uses the statistics of the batch and leaves its buffers alone;
    in evaluation mode it uses the buffers, which hold statistics of the largest subnet once
    `store_statistics` has put them there. Any other subnet must be extracted and calibrated
    before its accuracy means anything.

    Attributes:
        space: The search space.
        num_classes: Length of the logits.
        dropout: Probability before the classifier, in training mode.
    """

    def __init__(self, space: SearchSpace, *, num_classes: int, dropout: float = 0.0) -> None:
        """Build the layers, without choosing their weights; see `build_supernet`."""
        super().__init__()
        backbone = space.backbone
        assert isinstance(backbone, MBConvBackbone)
        self.space, self.num_classes, self.dropout = space, num_classes, dropout
        eps, activation = backbone.bn_eps, backbone.head_activation
        self.stem = ElasticConvNorm(
            ElasticConv(3, backbone.stem_channels, kernel_size=3, stride=backbone.stem_stride),
            bn_eps=eps,
            activation=backbone.stem_activation,
        )
        self.first_block = ElasticMBConv(
            first_mbconv_shape(backbone), kernel_sizes=(3,), expand_ratios=(1,)
        )
        self.groups = nn.ModuleList(
            nn.ModuleList(
                ElasticMBConv(
                    shape, kernel_sizes=group.kernel_sizes, expand_ratios=group.expand_ratios
                )
                for shape in shapes
            )
            for shapes, group in zip(mbconv_shapes(space), space.block_groups, strict=True)
        )
        self.final = ElasticConvNorm(
            ElasticConv(space.block_groups[-1].out_channels, backbone.final_channels),
            bn_eps=eps,
            activation=activation,
        )
        features = backbone.final_channels
        self.feature_mix: ElasticFeatureMix | None = None
        if backbone.feature_mix_channels is not None:
            self.feature_mix = ElasticFeatureMix(features, backbone.feature_mix_channels)
            features = backbone.feature_mix_channels
        self.head_activation = activation
        self.classifier = ElasticLinear(features, num_classes)

    def forward(self, images: Tensor, arch: Arch) -> Tensor:
        """Classify images with one architecture.

        Args:
            images: Shape (N, 3, H, W), normalized. The caller resizes them; the network itself
                works at any size.
            arch: An architecture of this space.

        Returns:
            Logits, shape (N, classes).

        Raises:
            ArchError: If the architecture is not of the space.
        """
        self.space.check(arch)
        sizes = zip(
            arch.kernel_sizes, arch.expand_ratios, drop_connect_rates(arch.depths), strict=True
        )
        x = images.contiguous(memory_format=torch.channels_last)
        x = self.first_block(self.stem(x), kernel_size=3, expand_ratio=1)
        for group, depth in zip(self.groups, arch.depths, strict=True):
            assert isinstance(group, nn.ModuleList)
            for block in itertools.islice(group, depth):
                kernel_size, expand_ratio, rate = next(sizes)
                x = block(x, kernel_size=kernel_size, expand_ratio=expand_ratio, drop_rate=rate)
        x = self.final(x).mean((2, 3))
        if self.feature_mix is not None:
            x = activate(self.feature_mix(x), self.head_activation)
        x = dropout(x, self.dropout, training=self.training)
        logits: Tensor = self.classifier(x)
        return logits
