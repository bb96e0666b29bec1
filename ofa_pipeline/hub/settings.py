"""The reference's notion of an active subnet: what each elastic part is set to.

The reference keeps a kernel size and an expand ratio for every block, also for those that the
depth skips, and draws them from Python's `random` in a fixed order. Both are part of its
interface, so they live here; everything else in the package uses `Arch`.
"""

import random
from collections.abc import Sequence
from typing import Any

from ofa_pipeline.arch import Arch, MBConvBackbone, SearchSpace
from ofa_pipeline.errors import ArchError, suggest

Values = list[Any]
Setting = dict[str, Values]

_CONSTRAINED: dict[str, str] = {"depth": "d", "expand_ratio": "e", "kernel_size": "ks"}


class ActiveSettings:
    """What a supernet is set to, by the reference's names (``ks``, ``e``, ``d``, ``w``).

    Attributes:
        values: The current value of every entry of every setting.
        choices: The allowed values of every entry, in the order in which the reference draws.
    """

    def __init__(self, space: SearchSpace) -> None:
        """Start with everything at its maximum."""
        self.space = space
        self.choices = _mbconv_choices(space) if is_mbconv(space) else _resnet_choices(space)
        self.values: Setting = {}
        self._constraints: dict[str, list[Values]] = {}
        self.set_maximum()

    def set_maximum(self) -> None:
        """Set everything to its maximum."""
        self.values = {
            name: [max(allowed) for allowed in entries] for name, entries in self.choices.items()
        }

    def set(self, settings: dict[str, Any]) -> None:
        """Change settings; None leaves one as it is, a number holds for all its entries.

        Raises:
            ArchError: If a name, a length or a value is wrong; nothing is changed then.
        """
        changed = dict(self.values)
        for name, given in settings.items():
            if name not in self.choices:
                raise ArchError(
                    f"{self.space.space_id} has no setting {name!r}.{suggest(name, self.choices)}"
                )
            changed[name] = self._checked(name, given)
        self.values = changed

    def _checked(self, name: str, given: Any) -> Values:  # noqa: ANN401 - checked here
        entries = self.choices[name]
        is_list = isinstance(given, Sequence) and not isinstance(given, str)
        wanted = list(given) if is_list else [given] * len(entries)
        if len(wanted) != len(entries):
            raise ArchError(
                f"{name} of {self.space.space_id} must be one number or {len(entries)} of them, "
                f"got {len(wanted)}: {wanted}"
            )
        result = list(self.values[name])
        for index, (value, allowed) in enumerate(zip(wanted, entries, strict=True)):
            if value is None:
                continue
            legal = self._legal(name, index)
            if isinstance(value, bool) or value not in legal:
                raise ArchError(
                    f"{name}[{index}] of {self.space.space_id} must be one of "
                    f"{', '.join(f'{choice:g}' for choice in legal)}, got {value!r}"
                )
            result[index] = allowed[0] if len(allowed) == 1 else value
        return result

    def _legal(self, name: str, index: int) -> Values:
        """Return what an entry may be set to: its choices, and what the reference rounds to one.

        A block group with a single depth takes any and keeps its own; the stem of a ResNet takes
        any depth and keeps its residual block at the largest alone.
        """
        allowed = self.choices[name][index]
        is_stem = name == "d" and index == 0 and not is_mbconv(self.space)
        if name == "d" and (len(allowed) == 1 or is_stem):
            return sorted({choice for entry in self.choices["d"] for choice in entry})
        return allowed

    def sample(self) -> Setting:
        """Draw every setting from Python's `random`, in the reference's order, and set it."""
        drawn: Setting = {}
        for name, entries in self.choices.items():
            # The reference draws a depth for ProxylessNAS's last group too, and drops it.
            longest = max(entries, key=len)
            candidates = [entry if len(entry) > 1 else longest for entry in entries]
            candidates = self._constraints.get(name, candidates)
            drawn[name] = [random.choice(allowed) for allowed in candidates]
        self.set(drawn)
        return {name: list(values) for name, values in self.values.items()}

    def constrain(self, include: Sequence[Any], kind: str) -> None:
        """Restrict what `sample` draws: one list for all entries, or one list an entry.

        Raises:
            ArchError: If the space has no such dimension, or a value is not a choice.
        """
        name = _CONSTRAINED.get(kind, "")
        if not is_mbconv(self.space) or not name:
            raise ArchError(
                f"{self.space.space_id} cannot constrain {kind!r}: depth, expand_ratio and "
                "kernel_size of MobileNetV3 and ProxylessNAS spaces can be constrained"
            )
        entries = self.choices[name]
        nested = bool(include) and isinstance(include[0], Sequence)
        lists = [list(item) for item in include] if nested else [list(include)] * len(entries)
        if len(lists) != len(entries) or not all(lists):
            raise ArchError(
                f"a constraint on {kind} must be a list of choices or {len(entries)} of them, "
                f"none empty, got {list(include)}"
            )
        allowed = sorted({choice for choices in entries for choice in choices})
        for value in (value for values in lists for value in values):
            if value not in allowed:
                raise ArchError(f"a constraint on {kind} must be of {allowed}, got {value!r}")
        self._constraints[name] = lists

    def clear_constraints(self) -> None:
        """Draw from all choices again."""
        self._constraints = {}

    def arch(self) -> Arch:
        """Return what is set as an architecture, at the space's largest resolution."""
        if is_mbconv(self.space):
            return self.space.arch(
                kernel_sizes=self.values["ks"],
                expand_ratios=[float(ratio) for ratio in self.values["e"]],
                depths=self.values["d"],
            )
        return _resnet_arch(self.space, self.values)


def is_mbconv(space: SearchSpace) -> bool:
    """Whether the space is of MobileNet blocks (``ks``, ``e``, ``d``) or ResNet's."""
    return isinstance(space.backbone, MBConvBackbone)


def _mbconv_choices(space: SearchSpace) -> dict[str, list[Values]]:
    blocks = [group for group in space.block_groups for _ in range(group.max_depth)]
    return {
        "ks": [list(group.kernel_sizes) for group in blocks],
        "e": [[_plain(ratio) for ratio in group.expand_ratios] for group in blocks],
        "d": [list(group.depths) for group in space.block_groups],
    }


def _resnet_choices(space: SearchSpace) -> dict[str, list[Values]]:
    """Return ResNet's choices: extra blocks a group, widths by index, the stem first in ``d``."""
    groups = space.block_groups[1:]
    extra = len(groups[0].depths) - 1
    blocks = [group for group in groups for _ in range(group.max_depth)]
    return {
        "e": [[_plain(ratio) for ratio in group.expand_ratios] for group in blocks],
        "d": [[extra, 0], *[list(range(extra + 1)) for _ in groups]],
        "w": [list(range(len(space.width_multipliers))) for _ in range(space.num_width_sites)],
    }


def _resnet_arch(space: SearchSpace, values: Setting) -> Arch:
    """Translate: the reference keeps the stem's residual block only at the full ``d[0]``."""
    stem, *groups = space.block_groups
    depths = [int(values["d"][0] == max(groups[0].depths) - min(groups[0].depths))]
    depths += [group.depths[extra] for group, extra in zip(groups, values["d"][1:], strict=True)]
    return space.arch(
        depths=depths,
        kernel_sizes=None,
        expand_ratios=[*stem.expand_ratios[-1:] * stem.max_depth, *values["e"]],
        width_multipliers=[space.width_multipliers[index] for index in values["w"]],
    )


def _plain(ratio: float) -> float:
    """Return whole ratios as the reference's integers."""
    return int(ratio) if ratio == int(ratio) else ratio
