"""What a measurement was taken on: processor, cores, memory, versions, and who else was at work."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from minidl.reprs import brief

CGROUPS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
PROCESSOR = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """A machine, as far as it decides how fast minidl is.

    Parameters
    ----------
    processor
        Its model.
    cores
        Logical cores of the machine.
    usable
        How many cores' time this process may use: not all, in a container.
    memory
        Bytes.
    system
        The operating system.
    versions
        Of Python and of what computes.
    load
        Processes that wanted a core, on average over the minute before.
    """

    processor: str
    cores: int
    usable: float
    memory: int
    system: str
    versions: Mapping[str, str]
    load: float

    __repr__ = brief

    @classmethod
    def here(cls) -> Machine:
        """This machine, now."""
        return cls(
            _processor(),
            os.cpu_count() or 1,
            usable_cores(),
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            f"{platform.system()} {platform.release()}",
            {"Python": platform.python_version(), "NumPy": version("numpy")}
            | {"numba": version("numba")},
            os.getloadavg()[0],
        )

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return (
            f"{self.processor}, {self.usable:g} of {self.cores} cores, "
            f"{self.memory / 2**30:.1f} GiB, {self.system}, {versions}; load {self.load:.2f}"
        )


def cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def container_cores() -> float | None:
    """How many cores' time the container's limit allows, or None if it sets no limit."""
    unified, quota = CGROUPS
    if unified.is_file():
        allowed, period = unified.read_text().split()
        return None if allowed == "max" else int(allowed) / int(period)
    if quota.is_file():
        microseconds = int(quota.read_text())
        period_file = quota.with_name("cpu.cfs_period_us")
        return None if microseconds < 0 else microseconds / int(period_file.read_text())
    return None


def usable_cores() -> float:
    """How many cores' time this process gets at most, the container's limit included."""
    limit = container_cores()
    return cores() if limit is None else min(limit, cores())


def _processor() -> str:
    if PROCESSOR.exists():
        for line in PROCESSOR.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
