"""The reference's notion of an active subnet: what each elastic part is set to.

The reference keeps a kernel size and an expand ratio for every block, also for those that the
depth skips, and draws them from Python's `random` in a fixed order. Both are part of its
interface, so they live here; everything else in the package uses `Arch`.
"""

import random
from collections.abc import Sequence
from typing import Any

from ofa_pipeline.arch import Arch, BlockGroup, MBConvBackbone, SearchSpace
from ofa_pipeline.errors import ArchError, suggest

Values = list[Any]
Setting = dict[str, Values]

_CONSTRAINED: dict[str, str] = {"depth": "d", "expand_ratio": "e", "kernel_size": "ks"}


class ActiveSettings:
    """The settings of a supernet by the reference's names (``ks``, ``e``, ``d``, ``w``).

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

    @classmethod
    def of(cls, space: SearchSpace, arch: Arch) -> "ActiveSettings":
        """Return the settings of an architecture; entries of skipped blocks keep their maximum."""
        settings = cls(space)
        if is_mbconv(space):
            settings.values["d"] = list(arch.depths)
            groups, depths = space.block_groups, arch.depths
            settings._fill("ks", groups, depths, arch.kernel_sizes)
            ratios: Sequence[float] = arch.expand_ratios
        else:
            groups, depths = space.block_groups[1:], arch.depths[1:]
            chosen = zip(groups, depths, strict=True)
            extras = [group.depths.index(depth) for group, depth in chosen]
            stem = settings.values["d"][0] if arch.depths[0] else 0
            settings.values["d"] = [stem, *extras]
            widths = [space.width_multipliers.index(w) for w in arch.width_multipliers]
            settings.values["w"] = widths
            ratios = arch.expand_ratios[arch.depths[0] :]
        settings._fill("e", groups, depths, ratios)
        return settings

    def _fill(
        self,
        name: str,
        groups: Sequence[BlockGroup],
        depths: Sequence[int],
        running: Sequence[float],
    ) -> None:
        """Set the entries of the blocks that run."""
        values, slot = iter(running), 0
        for group, depth in zip(groups, depths, strict=True):
            for index in range(depth):
                self.values[name][slot + index] = _plain(next(values))
            slot += group.max_depth

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

    def depths(self) -> list[int]:
        """Return how many blocks of each group run; a ResNet's group 0 is its stem."""
        if is_mbconv(self.space):
            return list(self.values["d"])
        return _resnet_depths(self.space, self.values["d"])

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
    stem = space.block_groups[0]
    return space.arch(
        depths=_resnet_depths(space, values["d"]),
        kernel_sizes=None,
        expand_ratios=[*stem.expand_ratios[-1:] * stem.max_depth, *values["e"]],
        width_multipliers=[space.width_multipliers[index] for index in values["w"]],
    )


def _resnet_depths(space: SearchSpace, extras: Values) -> list[int]:
    """Translate: the reference keeps the stem's residual block only at the full ``d[0]``."""
    groups = space.block_groups[1:]
    depths = [int(extras[0] == max(groups[0].depths) - min(groups[0].depths))]
    return depths + [group.depths[extra] for group, extra in zip(groups, extras[1:], strict=True)]


def _plain(ratio: float) -> float:
    """Return whole ratios as the reference's integers."""
    return int(ratio) if ratio == int(ratio) else ratio
