"""The reference implementation beside ours: the same supernet, weights and architectures.

Needs the optional extra ``reference`` (the package ``ofa``).
"""

import ctypes
import re
from collections.abc import Mapping

import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.imagenet_classification.networks import MobileNetV3Large
from torch import Tensor, nn

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.supernet import Supernet


def build_reference(space: SearchSpace, *, num_classes: int) -> nn.Module:
    """Return the reference's supernet of the w1.0 space, without dropout."""
    group = space.block_groups[0]
    return OFAMobileNetV3(
        n_classes=num_classes,
        dropout_rate=0,
        width_mult=1.0,
        ks_list=list(group.kernel_sizes),
        expand_ratio_list=[int(ratio) for ratio in group.expand_ratios],
        depth_list=list(group.depths),
    )


def build_reference_teacher(*, num_classes: int) -> nn.Module:
    """Return the reference's static network of the largest architecture."""
    return MobileNetV3Large(
        n_classes=num_classes,
        dropout_rate=0,
        width_mult=1.0,
        ks=7,
        expand_ratio=6,
        depth_param=4,
    )


def copy_weights(supernet: Supernet, reference: nn.Module) -> None:
    """Give the reference's supernet our weights."""
    ours = supernet.state_dict()
    theirs = {
        reference_name(name, supernet.space): value.reshape(
            reference.state_dict()[reference_name(name, supernet.space)].shape
        )
        for name, value in ours.items()
    }
    missing = {
        name
        for name in reference.state_dict()
        if name not in theirs and not name.endswith("num_batches_tracked")
    }
    if missing:
        raise ValueError(f"no weights of ours for {sorted(missing)[:5]}")
    reference.load_state_dict(theirs)


def copy_teacher_weights(reference: nn.Module, teacher: nn.Module) -> None:
    """Give the reference's static largest network the weights of its supernet."""
    source = {_static(name): value for name, value in reference.state_dict().items()}
    teacher.load_state_dict({name: source[name] for name in teacher.state_dict()})


def activate(reference: nn.Module, arch: Arch, space: SearchSpace) -> None:
    """Make `arch` the reference's active subnet."""
    values = space.values(space.genes([arch]))
    kernels = [int(value) or 3 for value in values["kernel_size"][0]]
    expands = [int(value) or 3 for value in values["expand_ratio"][0]]
    reference.set_active_subnet(ks=kernels, e=expands, d=list(arch.depths))


_LAYERS: Mapping[str, str] = {
    "expand.conv.weight": "inverted_bottleneck.conv.conv.weight",
    "expand.norm.": "inverted_bottleneck.bn.bn.",
    "depthwise.conv.weight": "depth_conv.conv.conv.weight",
    "depthwise.norm.": "depth_conv.bn.bn.",
    "se.": "depth_conv.se.fc.",
    "project.conv.weight": "point_linear.conv.conv.weight",
    "project.norm.": "point_linear.bn.bn.",
}
_FIXED: Mapping[str, str] = {
    "stem.conv.": "first_conv.conv.",
    "stem.norm.": "first_conv.bn.",
    "final.conv.": "final_expand_layer.conv.",
    "final.norm.": "final_expand_layer.bn.",
    "feature_mix.linear.": "feature_mix_layer.conv.",
    "classifier.": "classifier.linear.",
}


def reference_name(name: str, space: SearchSpace) -> str:
    """Translate the name of one of our tensors."""
    for prefix, theirs in _FIXED.items():
        if name.startswith(prefix):
            return theirs + name.removeprefix(prefix)
    if name.startswith("first_block."):
        return "blocks.0.conv." + _static(_layer_name(name.removeprefix("first_block.")))
    _, group, block, rest = name.split(".", 3)
    index = 1 + space.block_offsets[int(group)] + int(block)
    return f"blocks.{index}.conv." + _layer_name(rest)


def _layer_name(rest: str) -> str:
    matrix = re.fullmatch(r"depthwise\.conv\.transforms\.(\d)_to_(\d)", rest)
    if matrix:
        return f"depth_conv.conv.{matrix[1]}to{matrix[2]}_matrix"
    for prefix, theirs in _LAYERS.items():
        if rest.startswith(prefix):
            return theirs + rest.removeprefix(prefix)
    raise ValueError(f"unknown name {rest!r}")


def _static(name: str) -> str:
    return name.replace(".conv.conv.weight", ".conv.weight").replace(".bn.bn.", ".bn.")


def reference_parameter_groups(
    network: nn.Module, *, weight_decay: float
) -> list[dict[str, object]]:
    """Return the reference's groups: no decay where the name has ``bn`` or ``bias``."""
    free = list(network.get_parameters(["bn", "bias"], mode="include"))
    decayed = list(network.get_parameters(["bn", "bias"], mode="exclude"))
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def reference_loss(logits: Tensor, labels: Tensor, soft_logits: Tensor) -> Tensor:
    """Return the reference's loss: soft cross-entropy plus smoothed cross-entropy."""
    from ofa.utils import cross_entropy_loss_with_soft_target, cross_entropy_with_label_smoothing

    soft_labels = torch.softmax(soft_logits, dim=1)
    hard = cross_entropy_with_label_smoothing(logits, labels, 0.1)
    soft: Tensor = cross_entropy_loss_with_soft_target(logits, soft_labels)
    return soft + hard


def return_freed_memory() -> None:
    """Give free memory back and set what glibc's own adjustment ends at with large blocks."""
    libc = ctypes.CDLL(None)
    most = 2**25  # DEFAULT_MMAP_THRESHOLD_MAX on 64 bits
    for name, value in ((-4, 65536), (-3, most), (-1, 2 * most), (-2, 2**17)):
        libc.mallopt(name, value)
    libc.malloc_trim(0)
