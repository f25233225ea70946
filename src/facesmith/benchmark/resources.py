"""Memory of this process and energy of the processor, where the machine tells."""

import re
import sys
from pathlib import Path

MIB = 2**20


def peak_memory(status: Path = Path("/proc/self/status")) -> float | None:
    """The most memory that this process has held so far (resident set), in MiB; ``None`` where it cannot be told."""
    try:
        if match := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE):
            return int(match[1]) / 1024
    except OSError:
        pass  # no Linux
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MIB if sys.platform == "darwin" else most / 1024


class Energy:
    """Energy of all processor packages by RAPL (Linux's powercap), everything that runs on them included.

    Args:
        root: where the kernel lists its zones.

    Attributes:
        reason: why nothing can be read; ``None``: it can.
    """

    def __init__(self, root: Path = Path("/sys/class/powercap")) -> None:
        self._zones = sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)
        self.reason: str | None = None
        if not self._zones:
            self.reason = f"no RAPL zone in {root} (no Linux, a virtual machine, or no such counter)"
            return
        try:
            self._start = self._read()
        except OSError as error:
            self.reason = f"{error.filename}: {error.strerror}"

    def joules(self) -> float | None:
        """Since this was made; ``None`` where it cannot be read. Longer than minutes the counter may wrap twice."""
        if self.reason is not None:
            return None
        total = 0
        for zone, start, end in zip(self._zones, self._start, self._read(), strict=True):
            wrap = int((zone / "max_energy_range_uj").read_text()) + 1 if end < start else 0
            total += end - start + wrap
        return total / 1e6

    def _read(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self._zones]
