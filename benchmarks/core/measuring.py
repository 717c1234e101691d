"""What is measured of a case, in a process that does nothing else."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.core.cases import Case, warm_up_of
from benchmarks.core.peers import Peer, peers_of

__all__ = ["measure_floors", "measure_memory", "measure_times"]

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"

_COPIED_NUMBERS = 1 << 26
_PRODUCT_ROWS = 3072
_CUDA_PRODUCT_ROWS = 8192


def measure_memory(case: Case, name: str, device: str) -> dict[str, Any]:
    """Compute a case once, after a tiny one: seconds, extra peak bytes (None where unknown), and the loss.

    What is extra includes the answer and the gradient, not the inputs.
    """
    peer = peers_of(case)[name]
    device = peer.device or device
    peer.prepare(warm_up_of(case), device)()
    call = peer.prepare(case, device)
    before = _reset_peak(device)
    seconds, answer = _timed(call, device)
    peak = _peak(device)
    extra = None if before is None or peak is None else max(0, peak - before)
    return {"seconds": seconds, "bytes": extra, "loss": answer if isinstance(answer, float) else None}


# The threads of a BLAS that has just computed go on spinning, and would slow whoever comes next.
_SETTLE_S = 0.2
_SHORT_S = 0.1


def measure_times(case: Case, rounds: Mapping[str, int], device: str) -> dict[str, list[float]]:
    """Compute a case several times, peer by peer in turns, after a warm-up; return the seconds of each.

    What is timed only once is slow: it is warmed up with a tiny case.

    Args:
        case: what is computed.
        rounds: peer -> how often.
        device: cpu or cuda.
    """
    peers: dict[str, Peer] = peers_of(case)
    calls = {name: peers[name].prepare(case, peers[name].device or device) for name in rounds}
    for name, call in calls.items():
        if rounds[name] > 1:
            call()
        else:
            peers[name].prepare(warm_up_of(case), peers[name].device or device)()
    seconds: dict[str, list[float]] = {name: [] for name in rounds}
    for turn in range(max(rounds.values())):
        for name, call in calls.items():
            if turn < rounds[name]:
                time.sleep(_SETTLE_S)
                if min(seconds[name], default=0.0) < _SHORT_S and rounds[name] > 1:
                    call()  # wakes the threads and warms the caches that the pause let go cold
                seconds[name].append(_timed(call, device)[0])
    return seconds


def measure_floors(device: str) -> dict[str, float]:
    """Return what the machine can do: bytes/s of a big copy (both ways), flop/s of a big float32 product."""
    source = torch.ones(_COPIED_NUMBERS, device=device)
    target = torch.zeros_like(source)
    side = _CUDA_PRODUCT_ROWS if device == "cuda" else _PRODUCT_ROWS
    left, right = torch.randn(2, side, side, device=device).unbind(0)
    product = torch.empty_like(left)
    copying = _fastest(lambda: target.copy_(source), device)
    multiplying = _fastest(lambda: torch.mm(left, right, out=product), device)
    return {
        "bytes_per_s": 2.0 * source.numel() * source.element_size() / copying,
        "flops_per_s": 2.0 * side**3 / multiplying,
    }


def _fastest(call: Callable[[], object], device: str) -> float:
    call()
    return min(_timed(call, device)[0] for _ in range(7))


def _timed(call: Callable[[], object], device: str) -> tuple[float, object]:
    _wait(device)
    started = time.perf_counter()
    answer = call()
    _wait(device)
    return time.perf_counter() - started, answer


def _wait(device: str) -> None:
    """Let what is queued on the device end: its time belongs to the call that queued it."""
    if device == "cuda":
        torch.cuda.synchronize()


def _reset_peak(device: str) -> int | None:
    """Start a new peak and return the bytes that are in use now."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return None
    return _status("VmRSS")


def _peak(device: str) -> int | None:
    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def _status(name: str) -> int | None:
    """Return a size that Linux keeps of this process, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
