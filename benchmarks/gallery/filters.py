"""Filtered searches, from half of the items down to one in ten thousand."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.gallery.client import SAFETENSORS, items_bodies, query_body, send_all
from benchmarks.gallery.data import Floats, Rows, Truth, make_queries, make_vectors, recall
from benchmarks.gallery.figures import Criterion, Part
from benchmarks.gallery.ours import ITEMS, create, found, settled
from benchmarks.gallery.plan import RECALL, SHARES, K, Plan
from benchmarks.gallery.serving import run_bodies, serving
from benchmarks.gallery.targets import Running, rows_of

__all__ = ["Filtered", "filter_of", "measure", "part"]

_faiss: Any = faiss  # its stubs lack some of it

_DIMENSION = 128
_PARTS = 10_000
_EXACT_ROWS = 50_000
_MOST_TIMES = 3.0
_SCANS = 50


@dataclass(frozen=True, slots=True)
class Filtered:
    """What one share came to.

    Attributes:
        share: of the items that pass, as it was aimed at.
        passing: items that pass.
        recall: of the K nearest of them.
        short: answers with fewer than K where there are as many, or than there are.
        p50_ms: with the same filter in every request.
        other_p50_ms: with another filter in each.
        scan_ms: an exact scan of the passing rows in FAISS, without a server, which lie together.
        scattered_ms: the same, where they lie among all others (`fvec_inner_products_by_idx`).
    """

    share: float
    passing: int
    recall: float
    short: int
    p50_ms: float
    other_p50_ms: float
    scan_ms: float
    scattered_ms: float


def filter_of(share: float, first: int = 0) -> Mapping[str, Any]:
    """Return a filter that lets such a share of the items pass; another `first` lets others pass."""
    width = max(1, round(share * _PARTS))
    start = first % (_PARTS - width + 1)
    return {"part": {"gte": start, "lt": start + width}}


def measure(plan: Plan, folder: Path) -> Part:
    """Fill a collection and search it with every filter."""
    vectors = make_vectors(plan.filtered, _DIMENSION)
    queries = make_queries(plan.checked, plan.filtered, _DIMENSION)
    # As many rows of each part, in any order.
    parts = np.random.default_rng(3).permutation(np.arange(plan.filtered) * _PARTS // plan.filtered)
    with serving(folder / "filters") as running:
        create(running.port, _DIMENSION, fields={"part": "integer"})
        metadata = [{"part": int(one)} for one in parts]
        bodies = items_bodies(vectors, plan.batch, metadata=metadata)
        send_all(running.port, ITEMS, bodies, clients=2, content_type=SAFETENSORS)
        settled(running.port)
        asked = _Asked(plan, running, folder, vectors, queries, parts)
        unfiltered = asked.p50_ms("all", [{}])
        return part(plan.filtered, unfiltered, [asked.share(one) for one in SHARES])


class _Asked:
    """A filled server that is asked."""

    def __init__(
        self, plan: Plan, running: Running, folder: Path, vectors: Floats, queries: Floats, parts: Rows
    ) -> None:
        self._plan, self._running, self._folder = plan, running, folder
        self._vectors, self._queries, self._parts = vectors, queries, parts

    def p50_ms(self, name: str, fields: list[dict[str, Any]]) -> float:
        """Return the median of a single client's searches, which have the fields in turn."""
        asked = self._queries[: self._plan.queries]
        bodies = [query_body(one[None], K, **fields[i % len(fields)]) for i, one in enumerate(asked)]
        seconds = self._plan.timed_s
        return run_bodies(
            self._running, bodies, self._folder / f"filters.{name}", clients=1, seconds=seconds
        ).p50_ms

    def share(self, share: float) -> Filtered:
        """Search the items of a filter."""
        wanted = dict(filter_of(share))
        bounds = wanted["part"]
        passing = np.flatnonzero((self._parts >= bounds["gte"]) & (self._parts < bounds["lt"]))
        there = min(K, len(passing))
        index = faiss.IndexFlatIP(_DIMENSION)
        index.add(self._vectors[passing])
        similarities, nearest = index.search(self._queries, there)
        answers = [rows_of(one) for one in found(self._running.port, self._queries, filter=wanted)]
        allowed = set(passing.tolist())
        inside = [[row for row in rows if row in allowed] for rows in answers]
        truth = Truth(passing[nearest], similarities[:, -1])
        others = [
            {"filter": filter_of(share, first)} for first in range(1, 7_919 * self._plan.queries, 7_919)
        ]
        return Filtered(
            share,
            len(passing),
            recall(self._vectors, self._queries, truth, inside),
            sum(len(rows) < there for rows in inside),
            self.p50_ms(f"{share}", [{"filter": wanted}]),
            self.p50_ms(f"{share}.others", others),
            _scan_ms(index, self._queries),
            _scattered_ms(self._vectors, passing, self._queries),
        )


def part(items: int, unfiltered_ms: float, shares: list[Filtered]) -> Part:
    """Judge what was found."""
    criteria = []
    for one in shares:
        exact = one.passing <= _EXACT_ROWS
        least = 1.0 if exact else RECALL
        name = f"{100 * one.share:g} %"
        said = "exact" if exact else f"recall at least {RECALL}"
        aim = f"{name}: {said}, and no answer with fewer than {K}"
        met = one.recall >= least and not one.short
        criteria.append(Criterion(aim, f"recall {one.recall:.4f}, {one.short} short", met))
        slower = max(unfiltered_ms, one.scan_ms)
        scattered = f" ({one.other_p50_ms / max(slower, one.scattered_ms):.2f} where they lie)"
        for kind, p50, more in (
            ("the same filter", one.p50_ms, ""),
            ("another filter each time", one.other_p50_ms, scattered),
        ):
            aim = f"{name}, {kind}: p50 at most {_MOST_TIMES:g} times the slower of both"
            criteria.append(Criterion(aim, f"{p50 / slower:.2f} times{more}", p50 <= _MOST_TIMES * slower))
    columns = [
        "passes",
        "items",
        "recall",
        "short",
        "p50, ms",
        "another filter each time, ms",
        "scan, ms",
        "scan where they lie, ms",
    ]
    rows = [
        [
            f"{100 * one.share:g} %",
            f"{one.passing:,}",
            f"{one.recall:.4f}",
            f"{one.short}",
            *(f"{value:.2f}" for value in (one.p50_ms, one.other_p50_ms, one.scan_ms, one.scattered_ms)),
        ]
        for one in shares
    ]
    curves = {
        "the same filter": [(one.share, one.p50_ms) for one in shares],
        "another filter each time": [(one.share, one.other_p50_ms) for one in shares],
        "exact scan of what passes": [(one.share, one.scan_ms) for one in shares],
        "exact scan where they lie": [(one.share, one.scattered_ms) for one in shares],
        "unfiltered": [(one.share, unfiltered_ms) for one in shares],
        "recall": [(one.share, one.recall) for one in shares],
    }
    told = (
        f"{items:,} items of D = {_DIMENSION} with a declared integer field; K = {K}, one client. "
        f"The unfiltered search takes {unfiltered_ms:.2f} ms at the median. Beside it stands an exact scan "
        "of the rows that pass, which lie together in memory, by FAISS in one thread of a process without a "
        "server: no filter is evaluated, nothing is sent. The last column is such a scan of the rows where "
        "they lie among the others (fvec_inner_products_by_idx), as those of a new filter do."
    )
    return Part("Filtered searches", told, criteria, columns, rows, curves)


def _scan_ms(index: Any, queries: Floats) -> float:
    """Return the median time that FAISS takes to scan for one query."""
    return _median_ms(queries, lambda query: index.search(query, K))


def _scattered_ms(vectors: Floats, passing: Rows, queries: Floats) -> float:
    """Return the median time that FAISS takes to scan some rows for one query, where they lie among all."""
    similarities = np.empty(len(passing), np.float32)
    places = np.ascontiguousarray(passing, np.int64)

    def scan(query: Floats) -> Rows:
        pointers = [faiss.swig_ptr(one) for one in (similarities, query, vectors, places)]
        _faiss.fvec_inner_products_by_idx(*pointers, _DIMENSION, 1, len(places))
        nearest = np.argpartition(-similarities, min(K, len(places)) - 1)[:K]
        return places[nearest]

    return _median_ms(queries, scan)


def _median_ms(queries: Floats, search: Callable[[Floats], Any]) -> float:
    """Return the median time of a search for one query, by one thread."""
    faiss.omp_set_num_threads(1)
    took = []
    for query in queries[:_SCANS]:
        began = time.perf_counter()
        search(query[None])
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took))
