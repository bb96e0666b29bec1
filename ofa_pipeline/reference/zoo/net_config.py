"""Read the reference's ``net.config``: a static network as JSON.

A configuration is read by finding the architecture it spells and writing that again: where the
two differ in anything but the spelling of older versions, it is refused with the first
difference. So nothing in a configuration is silently ignored.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from operator import mul
from typing import Any

from ofa_pipeline.arch import Arch, MBConvBackbone, SearchSpace, make_divisible
from ofa_pipeline.errors import ArchError, CheckpointError, suggest
from ofa_pipeline.reference.zoo.net_config_writer import Config, NetworkSpec, write_net_config
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space

_FAMILIES = ("MobileNetV3", "ProxylessNASNets", "ResNets")
_BLOCK_NAMES = ("ResidualBlock", "MobileInvertedResidualBlock")
_MBCONV_NAMES = ("MBConvLayer", "MBInvertedConvLayer")
_BN_EPS = 1e-5
_PROXYLESS_BN_EPS = 1e-3


def read_net_config(config: Mapping[str, Any]) -> NetworkSpec:
    """Read a configuration, in today's spelling of the reference or an older one.

    Raises:
        CheckpointError: If it is not a network of one of the four supernets; the message names
            the first layer or value that does not fit.
    """
    name = config.get("name")
    if name not in _FAMILIES:
        raise CheckpointError(
            f"a net.config must name one of {', '.join(_FAMILIES)}, got {name!r}."
            f"{suggest(str(name), _FAMILIES)}"
        )
    try:
        modern = _modernize(config)
        spec = _resnet_spec(modern) if name == "ResNets" else _mbconv_spec(modern)
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"the net.config is incomplete or malformed: {error!r}") from error
    except ArchError as error:
        raise CheckpointError(
            f"the net.config is of none of the four supernets: {error}"
        ) from error
    difference = next(_differences(write_net_config(spec), modern, "net.config"), None)
    if difference is not None:
        raise CheckpointError(
            f"the net.config looks like {spec.space.space_id} but {difference}, so it is not a "
            "network of that supernet"
        )
    return spec


def _modernize(config: Mapping[str, Any]) -> Config:
    """Return the configuration in today's spelling, with the defaults of what older ones lack."""
    modern = dict(config)
    eps = _PROXYLESS_BN_EPS if config["name"] == "ProxylessNASNets" else _BN_EPS
    modern["bn"] = {"momentum": 0.1, "eps": eps, "ws_eps": None, **(config.get("bn") or {})}
    for key in ("first_conv", "final_expand_layer", "feature_mix_layer"):
        if key in modern:
            modern[key] = {"use_se": False, **modern[key]}
    if config["name"] == "ResNets":
        modern["input_stem"] = [_modern_layer(layer) for layer in config["input_stem"]]
    else:
        modern["blocks"] = [_modern_block(block) for block in config["blocks"]]
    return modern


def _modern_block(block: Mapping[str, Any]) -> Config:
    """Respell an inverted-bottleneck block.

    Raises:
        CheckpointError: If a layer has an unknown name.
    """
    _check_name(block, _BLOCK_NAMES)
    conv = block["conv"] if "conv" in block else block["mobile_inverted_conv"]
    _check_name(conv, _MBCONV_NAMES)
    unknown = set(block) - {"name", "conv", "mobile_inverted_conv", "shortcut"}
    if unknown:
        raise CheckpointError(f"a block has the unknown entries {sorted(unknown)}")
    return {
        "name": "ResidualBlock",
        "conv": {"groups": None, **conv, "name": "MBConvLayer"},
        "shortcut": _modern_shortcut(block.get("shortcut")),
    }


def _modern_shortcut(shortcut: Mapping[str, Any] | None) -> Config | None:
    if shortcut is None:
        return None
    _check_name(shortcut, ("IdentityLayer",))
    single = {
        key: shortcut[key][0] if isinstance(shortcut[key], list) else shortcut[key]
        for key in ("in_channels", "out_channels")
    }
    return {**shortcut, **single}


def _modern_layer(layer: Mapping[str, Any]) -> Config:
    _check_name(layer, ("ConvLayer", "ResidualBlock"))
    if layer["name"] == "ConvLayer":
        return {"use_se": False, **layer}
    # The reference's own get_active_net_config leaves a module here, which is no JSON.
    return {**layer, "shortcut": _modern_shortcut(layer["shortcut"])}


def _check_name(layer: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if layer.get("name") not in known:
        raise CheckpointError(
            f"unknown layer name {layer.get('name')!r} in the net.config, expected one of "
            f"{', '.join(known)}.{suggest(str(layer.get('name')), known)}"
        )


def _mbconv_spec(config: Config) -> NetworkSpec:
    convs = [block["conv"] for block in config["blocks"]]
    groups: list[list[Config]] = []
    for conv in convs[1:]:
        if conv["stride"] != 1 or conv["in_channels"] != conv["out_channels"]:
            groups.append([])
        if not groups:
            raise CheckpointError("the second block of a net.config must change width or size")
        groups[-1].append(conv)
    space = _space_of(config, [group[0]["out_channels"] for group in groups])
    depths = [len(group) for group in groups]
    active = [conv for group in groups for conv in group]
    arch = space.arch(
        depths=depths,
        kernel_sizes=_of_slots(space, depths, [conv["kernel_size"] for conv in active]),
        expand_ratios=_of_slots(space, depths, [float(c["expand_ratio"]) for c in active]),
    )
    return _spec(config, space, arch)


def _of_slots(space: SearchSpace, depths: list[int], active: list[Any]) -> list[Any]:
    """Spread the values of the blocks that run over the block slots of the supernet."""
    values, slots = iter(active), []
    for group, depth in zip(space.block_groups, depths, strict=True):
        slots += [
            next(values) if index < depth else group.kernel_sizes[0]
            for index in range(max(group.max_depth, depth))
        ]
    return slots


def _space_of(config: Config, widths: list[int]) -> SearchSpace:
    stem = config["first_conv"]["out_channels"]
    for space_id in REFERENCE_SPACES:
        space = reference_space(space_id)
        if (
            isinstance(space.backbone, MBConvBackbone)
            and space.backbone.stem_channels == stem
            and [group.out_channels for group in space.block_groups] == widths
        ):
            return _with_bn(space, config)
    raise ArchError(f"stem {stem} and block-group widths {widths} belong to no known supernet")


def _with_bn(space: SearchSpace, config: Config) -> SearchSpace:
    bn = config["bn"]
    return replace(
        space,
        backbone=replace(space.backbone, bn_eps=bn["eps"], bn_momentum=bn["momentum"]),
    )


def _spec(config: Config, space: SearchSpace, arch: Arch) -> NetworkSpec:
    classifier = config["classifier"]
    return NetworkSpec(
        space=space,
        arch=arch,
        num_classes=classifier["out_features"],
        dropout=classifier["dropout_rate"],
    )


def _resnet_spec(config: Config) -> NetworkSpec:
    space = _with_bn(reference_space("ofa_resnet50"), config)
    groups: list[list[Config]] = []
    for block in config["blocks"]:
        _check_name(block, ("ResNetBottleneckBlock",))
        if block["stride"] != 1 or block["in_channels"] != block["out_channels"]:
            groups.append([])
        groups[-1].append(block)
    stem, base = config["input_stem"], space.backbone.stem_channels
    widths = [
        _width_of(space, stem[0]["out_channels"], lambda w: make_divisible(base * w) // 2),
        _width_of(space, stem[-1]["out_channels"], lambda w: base * w),
    ]
    for group, shape in zip(groups, space.block_groups[1:], strict=True):
        out_channels = group[0]["out_channels"]
        widths.append(_width_of(space, out_channels, partial(mul, shape.out_channels)))
    stem_blocks = len(stem) - 2
    arch = Arch(
        resolution_px=space.resolutions_px[-1],
        depths=(stem_blocks, *(len(group) for group in groups)),
        kernel_sizes=(3,) * (stem_blocks + len(config["blocks"])),
        expand_ratios=(1.0,) * stem_blocks
        + tuple(block["expand_ratio"] for block in config["blocks"]),
        width_multipliers=tuple(widths),
    )
    space.check(arch)
    return _spec(config, space, arch)


def _width_of(space: SearchSpace, channels: int, of_width: Callable[[float], float]) -> float:
    """Return the multiplier that gives a channel count; the largest of several."""
    for width in reversed(space.width_multipliers):
        if make_divisible(of_width(width)) == channels:
            return width
    raise ArchError(f"{channels} channels are of none of the widths {space.width_multipliers}")


def _differences(wanted: Any, found: Any, where: str) -> Iterator[str]:  # noqa: ANN401
    """Yield where two configurations differ."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key in sorted({*wanted, *found}):
            if key not in wanted or key not in found:
                side = "is missing" if key not in found else f"is {found[key]!r}"
                yield f"{where}.{key} {side}"
            else:
                yield from _differences(wanted[key], found[key], f"{where}.{key}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, pair in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(*pair, f"{where}[{index}]")
    elif wanted != found:
        yield f"{where} must be {wanted!r}, got {found!r}"
