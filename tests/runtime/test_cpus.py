import os
import subprocess
import sys
from pathlib import Path

import pytest

from facesmith.errors import ConfigError
from facesmith.runtime import cpus


def system(root: Path, cgroups: str, files: dict[str, str]) -> Path:
    """A file system with /proc/self/cgroup and the given files below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_version_2(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "250000 100000\n"})
    assert cpus.cgroup_quota(root) == 2.5


def test_version_2_takes_the_tightest(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "250000 100000"})
    assert cpus.cgroup_quota(root) == 0.5


def test_version_1_with_the_path_of_the_host(tmp_path: Path) -> None:
    limits = {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    root = system(tmp_path, "9:memory:/x\n4:cpu,cpuacct:/docker/0123\n", limits)
    assert cpus.cgroup_quota(root) == 3


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    limits = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert cpus.cgroup_quota(system(tmp_path, "1:cpu:/\n0::/\n", limits)) is None


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert cpus.cgroup_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (2.5, 2), (0.2, 1), (64.0, 8)])
def test_available(monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int) -> None:
    monkeypatch.setattr(cpus, "affinity_cpus", lambda: 8)
    monkeypatch.setattr(cpus, "cgroup_quota", lambda: quota)
    assert cpus.available_cpus() == expected
    assert cpus.chosen_threads(None) == expected
    assert cpus.chosen_threads(3) == 3


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads(threads: int) -> None:
    with pytest.raises(ConfigError, match="threads"):
        cpus.chosen_threads(threads)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_affinity_mask_is_respected() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from facesmith.runtime.cpus import available_cpus; print(available_cpus())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "1\n"
