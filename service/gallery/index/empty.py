"""FAISS's indexes as they are before there are rows in them."""

from typing import Any

import faiss
import numpy as np

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.plan import Plan
from service.gallery.index.vector_files import faiss_metric, flat_index

__all__ = ["empty_index"]

_faiss: Any = faiss  # its stubs lack much of it

_TRAINING_ROWS_PER_LIST = 50


def empty_index(vectors: Vectors, metric: CollectionMetric, plan: Plan) -> Any:
    """Return FAISS's index of a plan without rows, trained where that is needed.

    Args:
        vectors: (N, D) contiguous float32, to learn codes and lists from.
        metric: how they are compared.
        plan: what to make.
    """
    dimension = vectors.shape[1]
    measure = faiss_metric(metric)
    coded = plan.quantization == "sq8"
    if plan.kind == "hnsw":
        quantizers = _faiss.ScalarQuantizer
        kind = quantizers.QT_8bit if coded else quantizers.QT_bf16 if plan.halved else None
        index = (
            _faiss.IndexHNSWFlat(dimension, plan.m, measure)
            if kind is None
            else _faiss.IndexHNSWSQ(dimension, kind, plan.m, measure)
        )
        index.hnsw.efConstruction = plan.ef_construction
    elif plan.kind == "ivf":
        quantizer = flat_index(dimension, metric)
        index = (
            _faiss.IndexIVFScalarQuantizer(
                quantizer, dimension, plan.nlist, _faiss.ScalarQuantizer.QT_8bit, measure, False
            )
            if coded
            else _faiss.IndexIVFFlat(quantizer, dimension, plan.nlist, measure)
        )
        index.cp.seed = 1
        index.cp.min_points_per_centroid = 1  # or FAISS warns on stderr of fewer than 39
    else:
        index = _faiss.IndexScalarQuantizer(dimension, _faiss.ScalarQuantizer.QT_8bit, measure)
    if coded or plan.halved or plan.kind == "ivf":
        index.train(_sample(vectors, max(plan.nlist, 1) * _TRAINING_ROWS_PER_LIST))
    return index


def _sample(vectors: Vectors, rows: int) -> Vectors:
    """Return rows to learn codes and lists from, drawn alike at every build."""
    wanted = max(rows, 20_000)
    if len(vectors) <= wanted:
        return vectors
    chosen = np.random.default_rng(1).choice(len(vectors), wanted, replace=False)
    return np.ascontiguousarray(vectors[np.sort(chosen)])
