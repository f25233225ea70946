"""How many CPUs this process may use: by affinity mask and container quota, not the machine's count."""

import os
from collections.abc import Iterator
from pathlib import Path

from facesmith.errors import ConfigError


def available_cpus() -> int:
    """CPUs of the affinity mask, or the cgroup's quota in whole CPUs where that is less; at least 1."""
    cpus, quota = affinity_cpus(), cgroup_quota()
    return cpus if quota is None else max(1, min(cpus, int(quota)))


def chosen_threads(threads: int | None) -> int:
    """``threads``, or all available CPUs where it is ``None``.

    Raises:
        ConfigError: ``threads`` is below 1.
    """
    if threads is None:
        return available_cpus()
    if threads < 1:
        raise ConfigError(f"threads must be 1 or more, not {threads}")
    return threads


def affinity_cpus() -> int:
    """CPUs that the scheduler may put this process on (``taskset``, cpusets); all where it cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """CPUs' worth of time that the cgroup (v1 or v2) or any above it grants, or ``None`` without a limit.

    Linux kernel documentation: ``cpu.max`` holds "quota period" in v2, ``cpu.cfs_quota_us`` (-1: no limit)
    and ``cpu.cfs_period_us`` in v1. ``root`` is where ``proc`` and ``sys`` hang.
    """
    quotas = [quota for folder in _cgroup_folders(root) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _cgroup_folders(root: Path) -> Iterator[Path]:
    """Folders of this process's cpu cgroups, innermost first.

    Inside a container the path in /proc/self/cgroup may be the host's and not exist; its existing ancestors
    and the mount point itself are what counts then.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            bases = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [mount / "cpu", mount / controllers]
        else:
            continue
        inner = Path(path.lstrip("/"))
        for base in bases:
            yield from (base / part for part in (inner, *inner.parents) if ".." not in part.parts)


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None
