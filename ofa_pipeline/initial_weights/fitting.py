"""Put weights into the supernet of a space: all must fit, but for the classifier."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.initial_weights.growing import grow_subnet
from ofa_pipeline.initial_weights.reading import FoundWeights
from ofa_pipeline.supernet import Subnet, Supernet, build_supernet, sort_channels

_CLASSIFIER = "classifier."
_TRANSFORMS = ".transforms."
_LISTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialSupernet:
    """A supernet to start from, and what was done to the weights."""

    supernet: Supernet
    is_classifier_new: bool
    is_sorted: bool
    """Whether channels were sorted by importance: the weights have never been elastic."""
    text: str
    """One line for people."""


def check_fit(found: FoundWeights, space: SearchSpace) -> None:
    """Check that weights are of a space, in all that shapes them; the classifier is free.

    Of a supernet the backbone, the block groups, kernel sizes and largest depths and expand ratios
    must be those of the space; resolutions and smaller choices may differ. A subnet may be smaller.

    Raises:
        CheckpointError: If anything differs; says what, and what the space has.
    """
    network = found.network
    if isinstance(network, Subnet):
        misfits = _differences(_around(network.space), _around(space)) or _beyond(network, space)
    else:
        misfits = _differences(_shapes(network.space), _shapes(space))
    if misfits:
        more = f"; and {len(misfits) - _LISTED} more" if len(misfits) > _LISTED else ""
        raise CheckpointError(
            f"the weights of {found.source} must fit the space in params.yaml, but differ: "
            f"{'; '.join(misfits[:_LISTED])}{more}. Give the space what the weights have, or name "
            "other weights in training.initial_weights."
        )
    bad = [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise CheckpointError(
            f"the weights of {found.source} must be finite numbers, but {', '.join(bad[:_LISTED])} "
            "are not. Name other weights in training.initial_weights."
        )


@torch.no_grad()
def fit_to_space(
    found: FoundWeights, space: SearchSpace, *, class_names: Sequence[str], seed: int
) -> InitialSupernet:
    """Build the supernet of a space with weights that were found.

    Where the classes differ, in number or in name, the classifier is drawn anew. Weights that were
    never elastic get their channels sorted by importance, as before the first phase with smaller
    expand ratios; the largest subnet computes the same.

    Args:
        found: What the source holds.
        space: The space of params.yaml.
        class_names: Names of the classes of the dataset, by label.
        seed: Seed of a new classifier.

    Raises:
        CheckpointError: If the weights do not fit; see `check_fit`.
    """
    check_fit(found, space)
    network, num_classes = found.network, len(class_names)
    is_new = network.num_classes != num_classes or (
        found.class_names is not None and found.class_names != tuple(class_names)
    )
    supernet = build_supernet(space, num_classes=num_classes, seed=seed)
    if isinstance(network, Subnet):
        state = grow_subnet(network, space, seed=seed)
    else:
        state = dict(network.state_dict())
    for name, tensor in supernet.state_dict().items():
        if not (is_new and name.startswith(_CLASSIFIER)):
            tensor.copy_(state[name])
    is_rigid = isinstance(network, Subnet) or _was_never_elastic(state)
    if is_rigid:
        sort_channels(supernet, trained_expand_ratios=[_largest_ratio(space)])
    return InitialSupernet(
        supernet=supernet.eval(),
        is_classifier_new=is_new,
        is_sorted=is_rigid,
        text=_text(found, num_classes, is_new=is_new),
    )


def _shapes(space: SearchSpace) -> dict[str, object]:
    """Return all that decides about a supernet's weights, by the words of messages."""
    found = _around(space)
    for number, group in enumerate(space.block_groups, start=1):
        found[f"the largest depth of block group {number}"] = group.max_depth
        found[f"kernel_sizes of block group {number}"] = group.kernel_sizes
        found[f"the largest expand ratio of block group {number}"] = group.expand_ratios[-1]
    found["the largest width multiplier"] = max(space.width_multipliers, default=1.0)
    return found


def _around(space: SearchSpace) -> dict[str, object]:
    """Return what is not elastic in a space."""
    found: dict[str, object] = {"the kind of network": type(space.backbone).__name__}
    found |= asdict(space.backbone)
    found["the number of block groups"] = len(space.block_groups)
    for number, group in enumerate(space.block_groups, start=1):
        for name in ("out_channels", "stride", "activation", "use_se"):
            found[f"{name} of block group {number}"] = getattr(group, name)
    return found


def _differences(theirs: dict[str, object], ours: dict[str, object]) -> list[str]:
    return [
        f"{name} {ours[name]} in params.yaml, {theirs[name]} in the weights"
        for name in ours
        if name in theirs and ours[name] != theirs[name]
    ]


def _beyond(subnet: Subnet, space: SearchSpace) -> list[str]:
    """Return what a subnet has more of than the largest of a space."""
    arch, largest = subnet.arch, space.largest
    if space.num_width_sites:
        same = all(
            getattr(arch, name) == getattr(largest, name)
            for name in ("depths", "kernel_sizes", "expand_ratios", "width_multipliers")
        )
        return [] if same else ["a subnet of a ResNet space must be the largest one"]
    blocks = iter(zip(arch.kernel_sizes, arch.expand_ratios, strict=True))
    found: list[str] = []
    for number, (depth, group) in enumerate(
        zip(arch.depths, space.block_groups, strict=True), start=1
    ):
        kernels, ratios = zip(*(next(blocks) for _ in range(depth)), strict=True)
        for name, theirs, ours in (
            ("depth", depth, group.max_depth),
            ("kernel size", max(kernels), group.kernel_sizes[-1]),
            ("expand ratio", max(ratios), group.expand_ratios[-1]),
        ):
            if theirs > ours:
                found.append(
                    f"{name} of block group {number} at most {ours:g} in params.yaml, "
                    f"{theirs:g} in the weights"
                )
    return found


def _was_never_elastic(state: dict[str, Tensor]) -> bool:
    """Return whether every kernel transform is the identity: weights of one static network."""
    transforms = [value for name, value in state.items() if _TRANSFORMS in name]
    return bool(transforms) and all(
        torch.equal(value, torch.eye(value.shape[0])) for value in transforms
    )


def _largest_ratio(space: SearchSpace) -> float:
    return space.block_groups[-1].expand_ratios[-1]  # the first of a ResNet is its stem


def _text(found: FoundWeights, num_classes: int, *, is_new: bool) -> str:
    network = found.network
    what = "a subnet, grown to the largest of the space" if isinstance(network, Subnet) else "fits"
    if not is_new:
        return f"{found.source}: {what}; the classes are the same, the classifier is kept"
    return (
        f"{found.source}: {what}; {network.num_classes} classes there, {num_classes} here: "
        "the classifier is new, all else is kept"
    )
