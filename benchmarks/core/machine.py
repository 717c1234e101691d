"""Where and with what was measured: what a reader needs to judge the figures."""

import hashlib
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import torch

__all__ = ["describe_machine", "describe_versions", "fingerprint", "memory_bytes"]

_ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = ("torch", "numpy", "pytorch-metric-learning", "scikit-learn", "scipy")
_MEASURED = ("models/*.py", "benchmarks/core/*.py")


def describe_machine(device: str, threads: int) -> str:
    """Return the processor or GPU, the memory, and the threads in one line."""
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB; beside {_processor()}"
    return f"{_processor()}, {threads} threads, {memory_bytes(device) / 2**30:.0f} GiB of memory"


def describe_versions() -> str:
    """Return the system, Python and libraries in one line."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"{_system()}, Python {platform.python_version()}, {libraries}"


def memory_bytes(device: str) -> int:
    """Return how much memory the device has."""
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fingerprint(*facts: object) -> str:
    """Return a digest of the facts and of the code: results of two states never mix."""
    digest = hashlib.sha256(repr(facts).encode())
    for pattern in _MEASURED:
        for path in sorted(_ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """Return the processor's name and how many of its cores there are."""
    name = platform.processor()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", information.read_text(), re.MULTILINE)
        name = found[1].strip() if found else name
    return f"{name or platform.machine()} ({os.cpu_count()} cores)"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform(terse=True)
