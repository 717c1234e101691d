"""The limit: FAISS in a loop, in one process, without a server."""

import resource
import threading
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.gallery.data import Floats, batches
from benchmarks.gallery.plan import K

__all__ = ["BATCH", "found", "measure"]

BATCH = 64
_ARRANGEMENTS = ((1, 2), (2, 1))  # (loops, FAISS threads of each), for batches


def found(index_path: str, effort: int, queries_path: str) -> dict[str, Any]:
    """Return the `rows` that the index finds for each query."""
    index = _read(index_path, effort)
    return {"rows": index.search(np.load(queries_path), K)[1].tolist()}


def measure(
    index_path: str, effort: int, queries_path: str, clients: tuple[int, ...], seconds: float
) -> dict[str, Any]:
    """Search one query at a time in so many threads, and batches of 64 in the better of two arrangements.

    Returns:
        `loads`: by number of threads, as those of the servers are; `batch_per_s`: queries a second in
        batches; `bytes`: the most memory that this process has had.
    """
    index, queries = _read(index_path, effort), np.load(queries_path)
    loads = {}
    for threads in clients:
        faiss.omp_set_num_threads(1)
        singly = [queries[row : row + 1] for row in range(len(queries))]
        took, spent = _loop(index, singly, threads, seconds, 1)
        p50, p99 = np.percentile(took, [50, 99]) * 1000
        speed = len(took) / spent
        loads[str(threads)] = {"per_s": speed, "p50_ms": p50, "p99_ms": p99, "failed": 0}
    several = [queries[part] for part in batches(len(queries), BATCH) if part.stop - part.start == BATCH]
    speeds = []
    for loops, threads in _ARRANGEMENTS:
        took, spent = _loop(index, several, loops, seconds, threads)
        speeds.append(BATCH * len(took) / spent)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"loads": loads, "batch_per_s": max(speeds), "bytes": memory}


def _read(path: str, effort: int) -> Any:
    index: Any = faiss.read_index(str(Path(path)))
    if effort:
        index.hnsw.efSearch = effort
    return index


def _loop(
    index: Any, asked: list[Floats], loops: int, seconds: float, threads: int
) -> tuple[list[float], float]:
    """Return how long each search took, and how long all of them together."""
    took: list[list[float]] = [[] for _ in range(loops)]
    began = time.perf_counter()

    def search(own: list[float], first: int) -> None:
        faiss.omp_set_num_threads(threads)  # OpenMP keeps it by thread
        position, now = first, time.perf_counter()
        while now < began + seconds:
            index.search(asked[position % len(asked)], K)
            before, now = now, time.perf_counter()
            own.append(now - before)
            position += 1

    workers = [
        threading.Thread(target=search, args=(own, number * len(asked) // loops))
        for number, own in enumerate(took)
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    return [one for own in took for one in own], time.perf_counter() - began
