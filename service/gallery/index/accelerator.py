"""What proposes rows that are probably near, much faster than a scan: FAISS's HNSW, IVF and coded scans.

Positions are those of the rows that it was built from, in their order. Its distances are never shown: what it
proposes is measured again. It is only as good as its effort, which is found by `tuning`.
"""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.empty import empty_index
from service.gallery.index.plan import Plan
from service.gallery.index.team import Team
from service.gallery.index.vector_files import named_refusals

__all__ = ["Accelerator", "Saved", "Stopped", "Work", "build"]

_faiss: Any = faiss  # its stubs lack much of it

Bits: TypeAlias = npt.NDArray[np.uint8]
Positions: TypeAlias = npt.NDArray[np.int64]
Told: TypeAlias = Callable[[int, int], None]

_CHUNK_ROWS = 2_000  # added at once, so that a build can be stopped within a moment
_TIES = 2  # rows more than k, which float32 cannot tell apart
_MORE_TIES = 4  # where the effort finds so many: copies in bfloat16 tell fewer apart
_SPARE = 32
_FEW_QUERIES = 16
_MUCH_EFFORT = 80  # of all queries together: a third of a millisecond and more
_TEAM = Team()
_CHANCE = 1.5
_MOST_KNOWN = 1_000  # numbers of neighbours that breadths are remembered for
_CODED_SPARE = 4  # times as many candidates where distances are those of codes


class Stopped(Exception):  # noqa: N818 - nothing went wrong: somebody wanted it
    """The build was told to stop."""


class Saved(NamedTuple):
    """Where an accelerator lies, and the rows or copies that it computes with, where these lie apart."""

    accelerator: Path
    storage: Path


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A FAISS index over rows.

    Attributes:
        plan: what it is.
        rows: how many rows it is of.
        effort: for numbers of neighbours, how wide to search (ef_search, nprobe, or candidates).
        threads: how many FAISS may use in one search.
        mapped: whether it computes with the rows as they lie in their file, or copies there.
    """

    plan: Plan
    rows: int
    effort: Mapping[int, int]
    threads: int
    _index: Any
    mapped: bool = False
    _known: dict[int, tuple[int, int]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def propose(self, queries: Vectors, k: int, *, passing: Bits | None, share: float) -> Positions:
        """Return (Q, F) positions that are probably near, -1 where there are no more.

        Args:
            queries: (Q, D) contiguous, as the rows are.
            k: how many are wanted; some more are proposed.
            passing: a bit for each row, packed from the lowest bit; None where all count.
            share: of the rows that count, > 0 and <= 1.
        """
        fetch, wide = self._breadth(k, share)
        pointer = _faiss.swig_ptr
        selector = None if passing is None else _faiss.IDSelectorBitmap(len(passing), pointer(passing))
        if self.plan.kind == "hnsw":
            parameters = _parameters("SearchParametersHNSW", selector, efSearch=wide)
            much = len(queries) * wide >= _MUCH_EFFORT
        else:
            much = len(queries) > _FEW_QUERIES
            if self.plan.kind == "ivf":
                parameters = _parameters("SearchParametersIVF", selector, nprobe=wide)
            else:
                parameters = _parameters("SearchParameters", selector)
        shape = (len(queries), fetch)
        positions, scores = np.empty(shape, np.int64), np.empty(shape, np.float32)
        with _TEAM.of(min(self.threads, len(queries)) if much else 1) as threads:
            _faiss.omp_set_num_threads(threads)  # OpenMP keeps this number per calling thread
            # Its `search` checks and makes what is right and there already: an eighth of the time.
            asked, near, found = pointer(queries), pointer(scores), pointer(positions)
            self._index.search_c(len(queries), asked, fetch, near, found, parameters)
        return positions

    def grown(self, vectors: Vectors, work: "Work") -> "Accelerator":
        """Return it over all of (N, D) rows, the first of which it has; it is not to be used any more.

        Raises:
            Stopped: it was told to stop.
        """
        _add(self._index, vectors, len(vectors), work)
        return Accelerator(self.plan, len(vectors), self.effort, self.threads, self._index)

    def copied(self) -> "Accelerator":
        """Return one of its own, which can be `grown` while this one is searched."""
        return replace(self, _index=_faiss.clone_index(self._index))

    def with_effort(self, effort: Mapping[int, int]) -> "Accelerator":
        """Return it with another effort."""
        return Accelerator(self.plan, self.rows, dict(effort), self.threads, self._index)

    @property
    def memory_bytes(self) -> int:
        """Return about how many bytes it takes beside the rows."""
        planned = self.plan.memory_bytes(self.rows, self._index.d)
        own_rows = self.plan.storage_apart and not self.plan.halved and not self.mapped
        return planned + (4 * self.rows * self._index.d if own_rows else 0)

    def save(self, files: Saved) -> None:
        """Write it to files; rows that lie apart were written already."""
        flags = _faiss.IO_FLAG_SKIP_STORAGE if self.plan.storage_apart else 0
        _write(self._index, files.accelerator, flags)
        if self.plan.halved:
            _write(self._index.storage, files.storage)

    @classmethod
    def load(cls, files: "Saved", plan: Plan, effort: Mapping[int, int], *, threads: int) -> "Accelerator":
        """Read a file that `save` wrote; its hash was checked, for FAISS trusts what it reads."""
        # What is mapped is ready at once, and may lie in large pages.
        flags = _faiss.IO_FLAG_MMAP_IFC if plan.kind == "hnsw" else 0
        index = _faiss.read_index(str(files.accelerator), flags)
        if plan.storage_apart:
            # Given away, or else nobody would free it: Python's reference to it no longer does.
            index.storage = _faiss.read_index(str(files.storage), _faiss.IO_FLAG_MMAP_IFC)
            index.own_fields = True
        return cls(plan, index.ntotal, dict(effort), threads, index, mapped=True)

    def least_effort(self, k: int) -> int:
        """Return the least effort for k neighbours: HNSW is searched no less widely than it fetches."""
        if self.plan.kind != "hnsw":
            return 1
        # An effort that was asked for was not tried, so that nobody knows whether fewer rows would do.
        return k + (_TIES if self.plan.effort is None else _MORE_TIES)

    def _breadth(self, k: int, share: float) -> tuple[int, int]:
        """Return how many rows to fetch for k, and how widely to search for them."""
        if share == 1.0 and (known := self._known.get(k)):
            return known
        # So many of the nearest are met before k of them are some that count, and chance has its part.
        chance = 1 + (_CHANCE - 1) * min(1, 2 * (1 - share))  # little where all but a few count
        effort, kind = self._wide(int(chance * k / share)), self.plan.kind
        fetch = k + _MORE_TIES
        if self.plan.quantization == "sq8":
            fetch = k * _CODED_SPARE + _SPARE
        elif kind == "hnsw":
            fetch = min(fetch, max(self.least_effort(k), int(effort * share)))
        fetch = min(self.rows, fetch)
        if kind == "hnsw":
            wide = min(self.rows, max(effort, math.ceil(fetch / share)))
        elif kind == "ivf":
            wide = min(effort, self._index.nlist)
        else:
            fetch = wide = min(self.rows, max(fetch, self._wide(k)))
        if share == 1.0 and len(self._known) < _MOST_KNOWN:
            self._known[k] = fetch, wide
        return fetch, wide

    def _wide(self, k: int) -> int:
        """Return the effort for a number of neighbours: between the known ones, in proportion beyond."""
        known = [
            (number, max(wide, self.least_effort(number))) for number, wide in sorted(self.effort.items())
        ]
        (first, least), (last, most) = known[0], known[-1]
        if k <= first:
            return least
        if k >= last:
            return int(most * k / last)
        return int(np.interp(k, [number for number, _ in known], [effort for _, effort in known]))


def _parameters(kind: str, selector: Any, **effort: int) -> Any:
    """Return FAISS's parameters of a search."""
    if selector is None:
        return _plain_parameters(kind, **effort)
    return getattr(_faiss, kind)(sel=selector, **effort)


@lru_cache(maxsize=256)
def _plain_parameters(kind: str, **effort: int) -> Any:
    return getattr(_faiss, kind)(**effort)


@dataclass(frozen=True, slots=True)
class Work:
    """How a build is done.

    Attributes:
        threads: that FAISS may use.
        stop: ends it within a moment.
        told: called with how many rows are in, and of how many.
    """

    threads: int
    stop: threading.Event
    told: Told

    def go_on(self) -> None:
        """Raise Stopped where somebody wanted it."""
        if self.stop.is_set():
            raise Stopped


def build(
    vectors: Vectors,
    metric: CollectionMetric,
    plan: Plan,
    work: Work,
    *,
    first: int,
    grown_from: "Saved | None" = None,
) -> Accelerator:
    """Build it over the first rows, without a useful effort yet; `grown` adds the others.

    Args:
        vectors: (N, D) contiguous float32; they may be mapped, read-only, and not aligned.
        metric: how they are compared.
        plan: what to build.
        work: how.
        first: how many rows; all where it is grown from more.
        grown_from: files of one of the same structure, whose rows are the first of these.

    Raises:
        Stopped: it was told to stop.
    """
    _faiss.omp_set_num_threads(work.threads)
    if grown_from is None:
        index = empty_index(vectors, metric, plan)
    else:
        index = _faiss.read_index(str(grown_from.accelerator))
        if plan.storage_apart:
            index.storage = _faiss.read_index(str(grown_from.storage))  # into memory, where it can grow
            index.own_fields = True
    _add(index, vectors, first, work)
    return Accelerator(plan, index.ntotal, {}, work.threads, index)


def _add(index: Any, vectors: Vectors, up_to: int, work: Work) -> None:
    """Add rows that it does not have yet."""
    _faiss.omp_set_num_threads(work.threads)
    for at in range(index.ntotal, up_to, _CHUNK_ROWS):
        work.go_on()
        index.add(vectors[at : min(at + _CHUNK_ROWS, up_to)])
        work.told(index.ntotal, len(vectors))


def _write(index: Any, path: Path, flags: int = 0) -> None:
    """Write an index to a file; what the disk refuses is an OSError."""
    with named_refusals(path):
        _faiss.write_index(index, str(path), flags)
