"""Draws an architecture: its block groups one below the other, the blocks of each side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from xml.etree.ElementTree import Element, SubElement, tostring

from ofa_pipeline.arch import (
    Arch,
    MBConvBackbone,
    SearchSpace,
    group_channels,
    inner_stem_channels,
    stem_channels,
)
from ofa_pipeline.report.charts import WIDTH
from ofa_pipeline.report.svg import box, line, picture, text

LABELS = 118.0
"""Width of the column of labels."""
ROW = 46.0
BLOCK_HEIGHT = 34.0
GAP = 6.0
WIDEST_BLOCK = 84.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block that runs."""

    kernel_size: int
    expand_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A block group of an architecture."""

    channels: int
    """That its blocks put out."""
    sides_px: tuple[int, int]
    """Of the feature maps before and after its first block."""
    blocks: tuple[Block, ...]
    num_skipped: int
    """Blocks of the supernet that the depth skips."""


def groups_of(space: SearchSpace, arch: Arch) -> tuple[Group, ...]:
    """Return the block groups of an architecture.

    Raises:
        ArchError: If the architecture is not of the space.
    """
    space.check(arch)
    blocks = [Block(kernel_size=k, expand_ratio=e) for k, e in _choices(arch)]
    ends = list(accumulate(arch.depths))
    side = _side_after_stem(space, arch)
    groups = []
    for index, (group, end, depth) in enumerate(
        zip(space.block_groups, ends, arch.depths, strict=True)
    ):
        after = -(-side // group.stride)
        groups.append(
            Group(
                channels=_channels(space, arch, index),
                sides_px=(side, after),
                blocks=tuple(blocks[end - depth : end]),
                num_skipped=group.max_depth - depth,
            )
        )
        is_pooled = not index and not isinstance(space.backbone, MBConvBackbone)
        side = -(-after // 2) if is_pooled else after  # a ResNet's stem ends in pooling
    return tuple(groups)


def draw_architecture(space: SearchSpace, arch: Arch) -> str:
    """Draw an architecture as one ``<svg>`` element.

    A block is a box: its kernel size darkens it, its expand ratio fills it from the left. A dashed
    box is a block that the depth skips.

    Raises:
        ArchError: If the architecture is not of the space.
    """
    groups = groups_of(space, arch)
    slots = max(len(group.blocks) + group.num_skipped for group in groups)
    width = min(WIDEST_BLOCK, (WIDTH - LABELS - 4) / slots - GAP)
    svg = picture(
        width=WIDTH,
        height=30 + ROW * len(groups),
        kind="architecture",
        description=_description(arch, groups),
    )
    text(svg, 2, 16, f"{arch.resolution_px} px image, {_stem(space, arch)}", anchor="start")
    top_ratio = max(ratio for group in space.block_groups for ratio in group.expand_ratios)
    for number, group in enumerate(groups):
        row = SubElement(svg, "g", {"class": "group"})
        _draw_group(row, group, top=28 + ROW * number, width=width, top_ratio=top_ratio)
    return tostring(svg, encoding="unicode")


def _draw_group(row: Element, group: Group, *, top: float, width: float, top_ratio: float) -> None:
    before, after = group.sides_px
    sides = f"{before} px" if before == after else f"{before} to {after} px"
    text(row, 2, top + 15, sides, anchor="start").set("class", "strong")
    text(row, 2, top + 30, f"{group.channels} channels", anchor="start")
    middle = top + BLOCK_HEIGHT / 2
    for slot in range(len(group.blocks) + group.num_skipped):
        left = LABELS + slot * (width + GAP)
        if slot >= len(group.blocks):
            box(row, left, top, width=width, height=BLOCK_HEIGHT).set("class", "skipped")
            continue
        if slot:
            line(row, left - GAP, middle, left, middle)
        block = group.blocks[slot]
        drawn = SubElement(row, "g", {"class": f"block kernel-{min(block.kernel_size, 7)}"})
        box(drawn, left, top, width=width, height=BLOCK_HEIGHT).set("class", "frame")
        filled = width * block.expand_ratio / top_ratio
        box(drawn, left, top, width=filled, height=BLOCK_HEIGHT).set("class", "fill")
        kernel = f"{block.kernel_size}\N{MULTIPLICATION SIGN}{block.kernel_size}"
        text(drawn, left + width / 2, top + 15, kernel)
        text(drawn, left + width / 2, top + 29, f"\N{MULTIPLICATION SIGN}{block.expand_ratio:g}")
        SubElement(drawn, "title").text = f"kernel {kernel}, expand ratio {block.expand_ratio:g}"


def _choices(arch: Arch) -> Iterator[tuple[int, float]]:
    return zip(arch.kernel_sizes, arch.expand_ratios, strict=True)


def _channels(space: SearchSpace, arch: Arch, index: int) -> int:
    group = space.block_groups[index]
    if isinstance(space.backbone, MBConvBackbone):
        return group.out_channels
    # Width sites of a ResNet: inside the stem, where group 0 is; after it; one a further group.
    if not index:
        return inner_stem_channels(space.backbone, arch.width_multipliers[0])
    return group_channels(group, arch.width_multipliers[index + 1])


def _side_after_stem(space: SearchSpace, arch: Arch) -> int:
    stride = space.backbone.stem_stride if isinstance(space.backbone, MBConvBackbone) else 2
    return -(-arch.resolution_px // stride)


def _stem(space: SearchSpace, arch: Arch) -> str:
    if isinstance(space.backbone, MBConvBackbone):
        return f"stem of {space.backbone.stem_channels} channels"
    return f"stem of {stem_channels(space.backbone, arch.width_multipliers[1])} channels"


def _description(arch: Arch, groups: tuple[Group, ...]) -> str:
    rows = "; ".join(
        f"group {number} with {group.channels} channels at {group.sides_px[1]} px: "
        + ", ".join(f"kernel {b.kernel_size} expand {b.expand_ratio:g}" for b in group.blocks)
        for number, group in enumerate(groups, start=1)
    )
    return f"Architecture {arch.arch_id} on {arch.resolution_px} px images: {rows}."
