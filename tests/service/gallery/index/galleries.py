"""Vectors that look like embeddings, and indexes over them."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.folders import sync_folder
from service.gallery.index.accelerator import Work
from service.gallery.index.flat import FlatIndex
from service.gallery.index.hits import Hits
from service.gallery.index.plan import Plan, plan_for
from service.gallery.index.sealing import seal
from service.gallery.index.segments import Index
from service.gallery.index.sizes import Sizes
from service.gallery.index.snapshots import Snapshot, Snapshots

__all__ = [
    "DIMENSION",
    "METRICS",
    "agree",
    "embeddings",
    "filled",
    "recall",
    "sealed",
    "snapshots_in",
    "truth",
    "work",
]

DIMENSION = 24
METRICS: list[CollectionMetric] = ["cosine", "euclidean", "inner_product"]
_IDENTITIES, _RANK = 150, 12


def embeddings(count: int, *, seed: int) -> Vectors:
    """Return (count, DIMENSION) rows of some identities, on a subspace, with noise."""
    world = np.random.default_rng(0)
    basis = world.standard_normal((_RANK, DIMENSION))
    centres = world.standard_normal((_IDENTITIES, _RANK))
    random = np.random.default_rng(seed)
    of = centres[random.integers(0, _IDENTITIES, count)] + 0.5 * random.standard_normal((count, _RANK))
    return (of @ basis + 0.2 * random.standard_normal((count, DIMENSION))).astype(np.float32)


def filled(metric: CollectionMetric, vectors: Vectors, *, scanned_rows: int = 50_000) -> Index:
    """Return an index of vectors under the labels 1, 2, ..., not sealed."""
    labels = np.arange(1, len(vectors) + 1)
    index = Index(vectors.shape[1], metric, scanned_rows=scanned_rows)
    return index.changed(removed=[], labels=labels, vectors=vectors)


def snapshots_in(home: Path, metric: CollectionMetric) -> Snapshots:
    return Snapshots(home / "snapshots", dimension=DIMENSION, metric=metric, sync=sync_folder)


def work() -> Work:
    return Work(1, threading.Event(), lambda done, total: None)


def sealed(
    index: Index,
    snapshots: Snapshots,
    kind: Any,
    before: Snapshot | None = None,
    *,
    idle: bool = False,
    **options: Any,
) -> tuple[Index, Snapshot]:
    """Return an index once all of it is sealed."""
    snapshot, rows = seal(index, plan(index, kind, **options), before, snapshots, work(), idle=idle)
    return index.with_sealed(rows), snapshot


def plan(index: Index, kind: Any, **options: Any) -> Plan:
    return plan_for(
        kind, options, rows=len(index), dimension=index.dimension, metric=index.metric, sizes=Sizes()
    )


def truth(index: Index) -> FlatIndex:
    """Return all that an index holds as rows that are scanned."""
    scanned = FlatIndex(index.dimension, index.metric)
    older = [part.rows for part in (index.sealed, index.recent) if part]
    for part in (*older, index.delta):
        kept = part.alive
        scanned = scanned.changed(removed=[], labels=part.labels[kept], vectors=part.vectors[kept])
    return scanned


def recall(found: Sequence[Hits], wanted: Sequence[Hits]) -> float:
    """Return the share of found neighbours; equally far ones are as good."""
    reached = [
        np.count_nonzero(hits.distances <= best.distances[-1]) / len(best.distances)
        for hits, best in zip(found, wanted, strict=True)
    ]
    return float(np.mean(reached))


def agree(some: Sequence[Hits], others: Sequence[Hits]) -> bool:
    """Return whether both are the same rows, as far."""
    return all(
        one.labels.tolist() == other.labels.tolist() and np.allclose(one.distances, other.distances)
        for one, other in zip(some, others, strict=True)
    )
