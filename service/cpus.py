"""How many processors this process may use, who goes first, and who waited for the disk."""

import contextlib
import math
import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

__all__ = ["available_cpus", "disk_waits", "stand_back"]

_CGROUP = Path("/sys/fs/cgroup")
_NICEST = 19


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """Return the number of CPUs, at least 1; a quota of 1.5 counts as 2.

    Args:
        cgroup: where the control group's files are (version 2: cpu.max, version 1: cpu/cpu.cfs_*).
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(allowed, math.ceil(quota))) if quota else allowed


def _quota(cgroup: Path) -> float | None:
    """Return the quota in CPUs, or None where there is none."""
    try:
        if (cgroup / "cpu.max").is_file():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def disk_waits() -> int:
    """Return how often this process has waited for a page of memory from the disk; 0 where nobody tells."""
    if sys.platform == "win32":
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def stand_back(task: int, steps: int) -> None:
    """Let the process's main thread go before a thread of it, or before a process; where Linux can.

    An event loop beside as many computing threads as processors gets its share and no more. Under ten times
    the load even refusals then wait, for tens of seconds.

    Args:
        task: the native number of the thread, or that of the process.
        steps: of `nice`; with 5 it has a third of the main thread's share, with 10 a tenth.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox may forbid either
            first = os.getpriority(os.PRIO_PROCESS, os.getpid())  # the main thread has the process's number
            os.setpriority(os.PRIO_PROCESS, task, min(first + steps, _NICEST))
