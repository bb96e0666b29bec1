"""Latency look-up tables in the reference's format: one file a resolution, one entry a block.

An entry's key spells out the layer, for example
``expanded_conv-input:56x56x32-output:28x28x48-expand:192-kernel:5-stride:2-idskip:0-se:1-hs:0``;
its value is ``{count, mean, std}``, milliseconds. The latency of a network is the sum of its
entries. Source: the reference's ``latency_lookup_table.py`` and the published Note10 tables.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ofa_pipeline.arch import (
    FloatArray,
    Genes,
    MBConvBackbone,
    MBConvShape,
    SearchSpace,
    expanded_channels,
    first_mbconv_shape,
    mbconv_shapes,
    resolution_values_px,
)
from ofa_pipeline.errors import DeviceError, shorten

FILE_NAME = re.compile(r"(\d+)_lookup_table\.yaml")
_NUM_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupEntry:
    """Measured latency of one layer or block."""

    mean_ms: float
    std_ms: float
    count: int
    """Number of measurements."""


LookupTable = Mapping[str, LookupEntry]
"""The entries of one resolution by their key."""


def read_lookup_table(path: Path) -> LookupTable:
    """Read a table of the reference's format; older ones give the variance instead of the std.

    Raises:
        DeviceError: If the file is missing or not YAML, or an entry is not a measurement.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise DeviceError(f"{path} must be a look-up table, but is missing") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML raises a plain ValueError about an impossible number or date.
        text = shorten(" ".join(str(error).split()), 300)
        raise DeviceError(f"{path} must be a look-up table in YAML: {text}") from error
    if not isinstance(values, dict) or not values:
        raise DeviceError(f"{path} must map keys to measurements, got {type(values).__name__}")
    return {str(key): _entry(path, key, value) for key, value in values.items()}


def read_lookup_tables(folder: Path) -> dict[int, LookupTable]:
    """Read every ``RESOLUTION_lookup_table.yaml`` of a folder, by resolution in pixels.

    Raises:
        DeviceError: If the folder holds no such table, or one cannot be read.
    """
    paths = {
        int(match[1]): path
        for path in sorted(folder.glob("*.yaml"))
        if (match := FILE_NAME.fullmatch(path.name))
    }
    if not paths:
        raise DeviceError(
            f"{folder} must hold look-up tables called RESOLUTION_lookup_table.yaml, found none"
        )
    return {
        resolution_px: read_lookup_table(paths[resolution_px]) for resolution_px in sorted(paths)
    }


class LookupTableModel:
    """Latency of whole networks from look-up tables, for many architectures at once.

    Attributes:
        resolutions_px: The space's resolutions that have a table; no other can be estimated.
    """

    def __init__(
        self, space: SearchSpace, tables: Mapping[int, LookupTable], *, num_classes: int
    ) -> None:
        """Look up every block of the space once.

        Args:
            space: A space of MBConv blocks.
            tables: The tables by resolution in pixels.
            num_classes: Length of the logits.

        Raises:
            DeviceError: If the space has none of the tables' resolutions, or entries are missing;
                the message lists them.
            ArchError: If the space is not one of MBConv blocks.
        """
        self.resolutions_px = tuple(r for r in space.resolutions_px if r in tables)
        if not self.resolutions_px:
            raise DeviceError(
                f"tables for {_listed(tables)} px have no resolution of {space.space_id}, which "
                f"has {space.resolutions_px[0]} to {space.resolutions_px[-1]} px"
            )
        self._space = space
        self._costs = {
            resolution_px: _costs_of(
                space, tables[resolution_px], resolution_px=resolution_px, num_classes=num_classes
            )
            for resolution_px in self.resolutions_px
        }

    def predict(self, genes: Genes) -> FloatArray:
        """Estimate the latency of architectures in milliseconds, shape (architectures,).

        Raises:
            DeviceError: If an architecture has a resolution without a table.
            ArchError: If the genes are not of the space.
        """
        space = self._space
        space.check_genes(genes)
        resolutions = resolution_values_px(space, genes)
        unknown = sorted(set(resolutions.tolist()) - set(self.resolutions_px))
        if unknown:
            raise DeviceError(
                f"latency at {_listed(unknown)} px is not in the look-up tables, which hold "
                f"{_listed(self.resolutions_px)} px. Restrict the space to these resolutions."
            )
        kernels = genes[:, space.columns["kernel_size"]]
        expands = genes[:, space.columns["expand_ratio"]]
        active = space.active_blocks(genes)
        slots = np.arange(space.num_blocks)
        estimated = np.empty(len(genes))
        for resolution_px, costs in self._costs.items():
            rows = resolutions == resolution_px
            blocks_ms = costs.blocks_ms[slots, kernels[rows], expands[rows]]
            estimated[rows] = costs.fixed_ms + (blocks_ms * active[rows]).sum(axis=1)
        return estimated

    def __call__(self, genes: Genes) -> FloatArray:
        """Estimate as `predict`; a search takes its latency as a function."""
        return self.predict(genes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Costs:
    """The latencies of a space's layers and blocks at one resolution."""

    fixed_ms: float
    """Stem, first block and head."""
    blocks_ms: FloatArray
    """Shape (block slots, kernel choices, expand choices)."""


def lookup_keys(space: SearchSpace, *, resolution_px: int, num_classes: int) -> list[str]:
    """Return the key of every entry that a table must hold to price the whole space.

    Raises:
        ArchError: If the space is not one of MBConv blocks.
    """
    keys = _fixed_keys(space, resolution_px, num_classes)
    keys += [key for _, key in _block_keys(space, resolution_px)]
    return list(dict.fromkeys(keys))


def _costs_of(
    space: SearchSpace, table: LookupTable, *, resolution_px: int, num_classes: int
) -> _Costs:
    wanted = lookup_keys(space, resolution_px=resolution_px, num_classes=num_classes)
    missing = [key for key in wanted if key not in table]
    if missing:
        raise DeviceError(_explain_missing(missing, table, resolution_px))
    groups = space.block_groups
    shape = (
        space.num_blocks,
        max(len(group.kernel_sizes) for group in groups),
        max(len(group.expand_ratios) for group in groups),
    )
    blocks_ms = np.zeros(shape)
    for index, key in _block_keys(space, resolution_px):
        blocks_ms[index] = table[key].mean_ms
    fixed = _fixed_keys(space, resolution_px, num_classes)
    return _Costs(fixed_ms=sum(table[key].mean_ms for key in fixed), blocks_ms=blocks_ms)


def _explain_missing(missing: list[str], table: LookupTable, resolution_px: int) -> str:
    more = len(missing) - _NUM_LISTED
    text = "; ".join(missing[:_NUM_LISTED]) + (f"; and {more} more" if more > 0 else "")
    message = f"the look-up table for {resolution_px} px lacks {len(missing)} entries: {text}."
    heads = [key.rpartition(":")[2] for key in table if key.startswith("Logits-")]
    if heads and any(key.startswith("Logits-") for key in missing):
        message += f" It is for {' or '.join(heads)} classes."
    return message + " It was measured for another space; measure the missing blocks."


def _fixed_keys(space: SearchSpace, resolution_px: int, num_classes: int) -> list[str]:
    """Return the keys of what every architecture runs: stem, first block, head."""
    backbone = space.backbone
    shapes = mbconv_shapes(space)
    assert isinstance(backbone, MBConvBackbone)
    side = _after(resolution_px, backbone.stem_stride)
    last = side
    for group in shapes:
        last = _after(last, group[0].stride)
    features, final = space.block_groups[-1].out_channels, backbone.final_channels
    stem = f"Conv-input:{_size(resolution_px, 3)}-output:{_size(side, backbone.stem_channels)}"
    keys = [
        stem,
        _block_key(space, first_mbconv_shape(backbone), side, kernel_size=3, expand_ratio=1),
        f"Conv_1-input:{_size(last, features)}-output:{_size(last, final)}",
    ]
    if backbone.feature_mix_channels is None:  # ProxylessNAS: pooling is part of the classifier
        return [*keys, f"Logits-input:{_size(last, final)}-output:{num_classes}"]
    mixed = backbone.feature_mix_channels
    return [
        *keys,
        f"AvgPool2D-input:{_size(last, final)}-output:{_size(1, final)}",
        f"Conv_2-input:{_size(1, final)}-output:{_size(1, mixed)}",
        f"Logits-input:{_size(1, mixed)}-output:{num_classes}",
    ]


def _block_keys(
    space: SearchSpace, resolution_px: int
) -> Iterator[tuple[tuple[int, int, int], str]]:
    """Yield (slot, kernel gene, expand gene) and the key of every choice of every block slot."""
    shapes = mbconv_shapes(space)
    assert isinstance(space.backbone, MBConvBackbone)
    side = _after(resolution_px, space.backbone.stem_stride)
    for group, offset, blocks in zip(space.block_groups, space.block_offsets, shapes, strict=True):
        for slot, shape in enumerate(blocks, start=offset):
            for k, kernel_size in enumerate(group.kernel_sizes):
                for e, ratio in enumerate(group.expand_ratios):
                    key = _block_key(
                        space, shape, side, kernel_size=kernel_size, expand_ratio=ratio
                    )
                    yield (slot, k, e), key
            side = _after(side, shape.stride)


def _block_key(
    space: SearchSpace,
    shape: MBConvShape,
    side: int,
    *,
    kernel_size: int,
    expand_ratio: float,
) -> str:
    out = _size(_after(side, shape.stride), shape.out_channels)
    assert isinstance(space.backbone, MBConvBackbone)
    is_proxyless = space.backbone.feature_mix_channels is None
    middle = expanded_channels(shape.in_channels, expand_ratio)
    key = (
        f"expanded_conv-input:{_size(side, shape.in_channels)}-output:{out}"
        f"-expand:{f'{expand_ratio:g}' if is_proxyless else middle}-kernel:{kernel_size}"
        f"-stride:{shape.stride}-idskip:{int(shape.has_shortcut)}"
    )
    if is_proxyless:
        return key
    return f"{key}-se:{int(shape.use_se)}-hs:{int(shape.activation == 'h_swish')}"


def _entry(path: Path, key: object, value: Any) -> LookupEntry:  # noqa: ANN401 - parsed YAML
    try:
        std = float(value["std"]) if "std" in value else float(value["var"]) ** 0.5
        entry = LookupEntry(mean_ms=float(value["mean"]), std_ms=std, count=int(value["count"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(
            f"{path}: entry {key} must have count, mean and std (or var), got {value!r}"
        ) from error
    if not (np.isfinite(entry.mean_ms) and entry.mean_ms >= 0):
        raise DeviceError(f"{path}: the mean of {key} must not be negative, got {entry.mean_ms}")
    return entry


def _after(side: int, stride: int) -> int:
    return (side - 1) // stride + 1


def _size(side: int, channels: int) -> str:
    return f"{side}x{side}x{channels}"


def _listed(values: Iterable[int]) -> str:
    return ", ".join(str(value) for value in values)
