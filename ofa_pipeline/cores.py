"""The CPU cores at hand.

Folders that are measured elsewhere carry this file: it works on Python 3.9.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def usable_cores(root: Path = Path("/")) -> int:
    """Return the number of CPU cores that this process may use, at least 1.

    It is bounded by the cores that the process is bound to, and by the CPU quotas of its control
    groups (``docker --cpus``, Kubernetes limits), rounded down: what a quota leaves of a core is
    for whatever else runs.

    Args:
        root: Root of the file system; another one in tests.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, int(min([cores, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """Give the quota, in cores, of each control group that this process is in.

    A group is held to the quotas of those above it, too, as far up as can be seen from here.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return  # no control groups: not Linux, or no /proc
    paths = _paths_by_controller(groups)
    for line in mounts:
        left, _, right = line.partition(" - ")
        kind, options = right.partition(" ")[0], right.rpartition(" ")[2].split(",")
        if kind == "cgroup2" and "" in paths:
            path, read = paths[""], _unified_quota
        elif kind == "cgroup" and "cpu" in options and "cpu" in paths:
            path, read = paths["cpu"], _legacy_quota
        else:
            continue
        mounted, point = left.split()[3:5]
        for folder in _folders(root / point.lstrip("/"), mounted=mounted, path=path):
            quota = read(folder)
            if quota is not None:
                yield quota


def _paths_by_controller(groups: list[str]) -> dict[str, str]:
    """Return the path of this process's group, by controller; "" is the unified hierarchy."""
    paths = {}
    for line in groups:
        _, _, entry = line.partition(":")
        controllers, _, path = entry.partition(":")
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def _folders(mount: Path, *, mounted: str, path: str) -> list[Path]:
    """Return the folder of a group and those above it, up to where the hierarchy is mounted.

    Args:
        mount: Where it is mounted.
        mounted: The group that is seen there: in a container its own, not the root.
        path: Path of the group, from the root.
    """
    inside = Path(path)
    if inside.is_relative_to(mounted) and ".." not in inside.parts:
        inside = inside.relative_to(mounted)
    else:  # in another namespace than it was mounted in: only the top is seen
        inside = Path()
    folder = mount / str(inside).lstrip("/")
    return [folder, *(above for above in folder.parents if above.is_relative_to(mount))]


def _unified_quota(folder: Path) -> float | None:
    """Read ``cpu.max``: a time and the period that it is for, or "max"."""
    words = _words(folder / "cpu.max")
    return _ratio(words[0], words[1]) if len(words) == 2 else None  # noqa: PLR2004 - the pair


def _legacy_quota(folder: Path) -> float | None:
    """Read the two files of the first version; -1 is no quota."""
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    return _ratio(quota[0], period[0]) if quota and period else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _ratio(quota: str, period: str) -> float | None:
    if not quota.isdigit() or not period.isdigit() or int(quota) == 0 or int(period) == 0:
        return None  # "max" and -1: as much as there is
    return int(quota) / int(period)
