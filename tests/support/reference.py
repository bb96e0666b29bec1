"""The reference's own networks, where its package is installed."""

from typing import Any

from ofa_pipeline.arch import Arch, ResNetBackbone, SearchSpace

_LARGEST_EXTRA_DEPTH = 2


def build_reference(networks: Any, space_id: str, *, num_classes: int) -> Any:
    """Build one of the reference's supernets, in double precision.

    Args:
        networks: The module ``ofa.imagenet_classification.elastic_nn.networks``.
        space_id: Its name.
        num_classes: Length of the logits.
    """
    if space_id == "ofa_resnet50":
        network = networks.OFAResNets(
            num_classes,
            dropout_rate=0,
            depth_list=[0, 1, 2],
            expand_ratio_list=[0.2, 0.25, 0.35],
            width_mult_list=[0.65, 0.8, 1.0],
        )
    else:
        family = networks.OFAMobileNetV3 if "mbv3" in space_id else networks.OFAProxylessNASNets
        network = family(
            num_classes,
            dropout_rate=0,
            width_mult=float(space_id.rpartition("w")[2]),
            ks_list=[3, 5, 7],
            expand_ratio_list=[3, 4, 6],
            depth_list=[2, 3, 4],
        )
    return network.double()


def reference_setting(space: SearchSpace, arch: Arch) -> dict[str, list[Any]]:
    """Return the arguments of the reference's ``set_active_subnet``."""
    ratios = iter(arch.expand_ratios)
    kernels = iter(arch.kernel_sizes)
    slots = [
        (next(kernels), next(ratios))
        if block < depth
        else (group.kernel_sizes[0], group.expand_ratios[0])
        for group, depth in zip(space.block_groups, arch.depths, strict=True)
        for block in range(group.max_depth)
    ]
    if isinstance(space.backbone, ResNetBackbone):
        extra = [
            depth - group.depths[0]
            for group, depth in zip(space.block_groups[1:], arch.depths[1:], strict=True)
        ]
        return {
            "d": [_LARGEST_EXTRA_DEPTH * arch.depths[0], *extra],
            "e": [ratio for _, ratio in slots[1:]],
            "w": [space.width_multipliers.index(width) for width in arch.width_multipliers],
        }
    return {
        "ks": [kernel for kernel, _ in slots],
        "e": [int(ratio) for _, ratio in slots],
        "d": list(arch.depths),
    }
