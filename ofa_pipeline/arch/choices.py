"""Checks of search spaces and of what is asked of them: every message names the choices."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

from ofa_pipeline.arch.coupling import check_coupling, check_pairs, ratio_of
from ofa_pipeline.arch.shape import BlockGroup
from ofa_pipeline.arch.value import Arch
from ofa_pipeline.errors import ArchError

if TYPE_CHECKING:
    from ofa_pipeline.arch.space import SearchSpace

N = TypeVar("N", int, float)


def check_choices(space: "SearchSpace") -> None:
    """Check that every list of choices is ascending and without repeats, and can be coupled.

    Raises:
        ArchError: If a list of choices is empty, unsorted, or holds an even kernel size, or a
            coupled space has depths without an expand ratio of their own.
    """
    named: list[tuple[str, Sequence[float]]] = [("resolutions_px", space.resolutions_px)]
    for index, group in enumerate(space.block_groups):
        named += [
            (f"block_groups[{index}].depths", group.depths),
            (f"block_groups[{index}].kernel_sizes", group.kernel_sizes),
            (f"block_groups[{index}].expand_ratios", group.expand_ratios),
        ]
    if space.num_width_sites:
        named.append(("width_multipliers", space.width_multipliers))
    for name, choices in named:
        if not choices or list(choices) != sorted(set(choices)) or min(choices) < 0:
            raise ArchError(
                f"{space.space_id}: {name} must be ascending choices without repeats, "
                f"got {tuple(choices)}"
            )
        if name.endswith("kernel_sizes") and any(k % 2 == 0 for k in choices):
            raise ArchError(f"{space.space_id}: {name} must be odd numbers, got {tuple(choices)}")
    check_coupling(space)


def check_arch(space: "SearchSpace", arch: Arch) -> None:
    """Check that the architecture is one of the space.

    Raises:
        ArchError: Naming the first value that is not, and the choices.
    """
    groups = space.block_groups
    where = f"of {space.space_id}"
    check_choice(arch.resolution_px, space.resolutions_px, f"resolution_px {where}")
    if len(arch.depths) != len(groups):
        raise ArchError(
            f"depths {where} must have {len(groups)} entries, one a block group, got {arch.depths}"
        )
    if len(arch.width_multipliers) != space.num_width_sites:
        raise ArchError(
            f"width_multipliers {where} must have {space.num_width_sites} entries, "
            f"got {arch.width_multipliers}"
        )
    for index, width in enumerate(arch.width_multipliers):
        check_choice(width, space.width_multipliers, f"width_multipliers[{index}] {where}")
    block = 0
    for index, (depth, group) in enumerate(zip(arch.depths, groups, strict=True)):
        check_choice(depth, group.depths, f"depths[{index}] {where}")
        ratios = (ratio_of(group, depth),) if space.is_coupled else group.expand_ratios
        with_depth = f" with depth {depth}" if space.is_coupled else ""
        for _ in range(depth):
            check_choice(
                arch.kernel_sizes[block], group.kernel_sizes, f"kernel_sizes[{block}] {where}"
            )
            check_choice(
                arch.expand_ratios[block],
                ratios,
                f"expand_ratios[{block}] {where}{with_depth}",
            )
            block += 1


def choices_of_groups(
    space: "SearchSpace",
    given: Sequence[N] | Sequence[Sequence[N]] | None,
    name: Literal["depths", "kernel_sizes", "expand_ratios"],
) -> Sequence[Sequence[N] | None]:
    """Return what is asked of each block group in one dimension; None for all of its choices.

    Raises:
        ArchError: If there is a list too many or too few, or a value is not a choice.
    """
    groups = space.block_groups
    where = f"{name} of {space.space_id}"
    if given is None:
        return [None] * len(groups)
    of_groups = [values for values in given if isinstance(values, Sequence)]
    if not of_groups:
        shared = [value for value in given if not isinstance(value, Sequence)]
        check_subset(shared, sorted({v for group in groups for v in getattr(group, name)}), where)
        return [shared] * len(groups)
    if len(of_groups) != len(groups) or len(of_groups) != len(given):
        raise ArchError(
            f"{where} must be one list of choices or one for each of the "
            f"{len(groups)} block groups, got {given}"
        )
    for index, (values, group) in enumerate(zip(of_groups, groups, strict=True)):
        check_subset(values, getattr(group, name), f"{name}[{index}] of {space.space_id}")
    return of_groups


def per_item(
    given: float | Sequence[float] | None, largest: Sequence[float], name: str
) -> list[float]:
    """Return one value for each item: the largest ones, those given, or the same for all.

    Raises:
        ArchError: If a list has another length.
    """
    if given is None:
        return list(largest)
    if isinstance(given, Sequence):
        if len(given) != len(largest):
            raise ArchError(f"{name} must have {len(largest)} entries, got {len(given)}: {given}")
        return list(given)
    return [given] * len(largest)


def check_choice(value: float, choices: Sequence[float], name: str) -> None:
    """Check that a value is one of the choices.

    Raises:
        ArchError: If it is not.
    """
    if not choices:
        raise ArchError(
            f"{name} must be left out, because there is no choice of them, got {value!r}"
        )
    if value not in choices:
        allowed = ", ".join(f"{choice:g}" for choice in choices)
        raise ArchError(f"{name} must be one of {allowed}, got {value!r}")


def check_subset(given: Sequence[float] | None, known: Sequence[float], name: str) -> None:
    """Check that all given values are known; nothing given is right.

    Raises:
        ArchError: If one is not.
    """
    for value in given or ():
        check_choice(value, known, name)


def narrow(choices: tuple[N, ...], given: Sequence[N] | None) -> tuple[N, ...]:
    """Keep the given choices; all of them where nothing is given or nothing is elastic."""
    if given is None or len(choices) <= 1:
        return choices
    return tuple(choice for choice in choices if choice in given)


def values_of_blocks(
    space: "SearchSpace",
    given: float | Sequence[float] | None,
    name: Literal["kernel_sizes", "expand_ratios"],
    active: Sequence[int],
) -> list[float]:
    """Return the value of each block that runs.

    Args:
        space: Space of the architecture.
        given: One for all, one for each block that runs or for each block slot; the largest if
            left out.
        name: What is given.
        active: Block slots that run.
    """
    largest: list[float] = [
        (group.kernel_sizes if name == "kernel_sizes" else group.expand_ratios)[-1]
        for group in space.block_groups
        for _ in range(group.max_depth)
    ]
    if isinstance(given, Sequence) and len(given) == len(active) != space.num_blocks:
        return list(given)
    values = per_item(given, largest, name)
    return [values[slot] for slot in active]


def narrow_groups(
    space: "SearchSpace",
    *,
    depths: Sequence[int] | Sequence[Sequence[int]] | None,
    kernel_sizes: Sequence[int] | Sequence[Sequence[int]] | None,
    expand_ratios: Sequence[float] | None,
) -> tuple[BlockGroup, ...]:
    """Return the block groups with fewer choices.

    Raises:
        ArchError: If a value is not a choice of the space, or a coupled space would lose a half of
            a pair.
    """
    asked = zip(
        space.block_groups,
        choices_of_groups(space, depths, "depths"),
        choices_of_groups(space, kernel_sizes, "kernel_sizes"),
        choices_of_groups(space, expand_ratios, "expand_ratios"),
        strict=True,
    )
    groups = tuple(
        replace(
            group,
            depths=narrow(group.depths, own_depths),
            kernel_sizes=narrow(group.kernel_sizes, own_kernels),
            expand_ratios=narrow(group.expand_ratios, own_ratios),
        )
        for group, own_depths, own_kernels, own_ratios in asked
    )
    check_pairs(space, groups)
    return groups
