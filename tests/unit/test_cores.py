"""Cores: those that the process is bound to, and what the quotas of its control groups leave."""

import os

import pytest

from ofa_pipeline.cores import usable_cores

PERIOD = 100_000


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A file system with control groups, on 8 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    def make(files, *, groups, mounts):
        for name, text in {
            "proc/self/cgroup": groups,
            "proc/self/mountinfo": mounts,
            **files,
        }.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return usable_cores(tmp_path)

    return make


UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n"
LEGACY = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max", 8), ("50000", 1), ("100000", 1), ("250000", 2), ("299999", 2), ("9000000", 8)],
)
def test_quota_of_the_unified_hierarchy_is_rounded_down_to_at_least_one(machine, limit, cores):
    files = {"sys/fs/cgroup/cpu.max": f"{limit} {PERIOD}\n"}
    assert machine(files, groups="0::/\n", mounts=UNIFIED) == cores


@pytest.mark.parametrize(
    ("limits", "cores"),
    [(("max", "300000", "200000"), 2), (("200000", "max", "max"), 2), (("max", "max", "max"), 8)],
)
def test_smallest_of_nested_groups_counts(machine, limits, cores):
    folders = ("", "kubepods.slice/", "kubepods.slice/pod/")
    files = {
        f"sys/fs/cgroup/{folder}cpu.max": f"{limit} {PERIOD}\n"
        for folder, limit in zip(folders, limits, strict=True)
    }
    groups = "0::/kubepods.slice/pod\n"
    assert machine(files, groups=groups, mounts=UNIFIED) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("50000", 1), ("250000", 2)])
def test_quota_of_the_first_version_counts(machine, quota, cores):
    folder = "sys/fs/cgroup/cpu,cpuacct/jobs/a"
    files = {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": f"{PERIOD}\n"}
    groups = "4:cpu,cpuacct:/jobs/a\n3:memory:/other\n0::/\n"
    assert machine(files, groups=groups, mounts=LEGACY + OTHER) == cores


def test_container_sees_its_own_group_at_the_mount(machine):
    mounts = LEGACY.replace(" / /sys", " /docker/abc /sys")
    folder = "sys/fs/cgroup/cpu,cpuacct"
    files = {f"{folder}/cpu.cfs_quota_us": "150000", f"{folder}/cpu.cfs_period_us": "50000"}
    assert machine(files, groups="4:cpu,cpuacct:/docker/abc\n", mounts=mounts) == 3


@pytest.mark.parametrize("path", ["/../../elsewhere", "/system.slice/other"])
def test_group_outside_of_what_is_mounted_is_taken_from_the_top(machine, path):
    mounts = UNIFIED.replace(" / /sys", " /docker/abc /sys")
    files = {"sys/fs/cgroup/cpu.max": f"400000 {PERIOD}"}
    assert machine(files, groups=f"0::{path}\n", mounts=mounts) == 4


@pytest.mark.parametrize("text", ["", "max", "x y", "0 100000", "100000 0", "1 2 3"])
def test_what_is_no_quota_bounds_nothing(machine, text):
    assert machine({"sys/fs/cgroup/cpu.max": text}, groups="0::/\n", mounts=UNIFIED) == 8


@pytest.mark.parametrize(
    ("groups", "mounts"), [("", ""), ("nonsense", "too short"), ("0::/\n", "")]
)
def test_unknown_control_groups_bound_nothing(machine, groups, mounts):
    assert machine({}, groups=groups, mounts=mounts) == 8


def test_binding_counts_beside_the_quota(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    files = {"sys/fs/cgroup/cpu.max": f"400000 {PERIOD}"}
    assert machine(files, groups="0::/\n", mounts=UNIFIED) == 2


def test_without_control_groups_the_binding_counts(tmp_path):
    assert usable_cores(tmp_path) == len(os.sched_getaffinity(0))
