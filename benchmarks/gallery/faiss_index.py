"""The FAISS index of the bare handler and of the loop without a server: built once, of Lookalike's kind."""

import json
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

__all__ = ["build", "built_s", "kind_of", "put_kind"]

# Where Lookalike has not been measured: what it builds when it builds a graph.
_USUAL = {"kind": "hnsw", "m": 32, "ef_construction": 80}
_BUILT = "built.json"


def put_kind(shared: Path, index: dict[str, Any]) -> None:
    """Keep what Lookalike's index is, for the others to have the same."""
    known = {**index, **index.get("parameters", {})}
    kind = "flat" if index["chosen"] == "flat" else "hnsw"
    parameters = {name: known.get(name) or _USUAL[name] for name in ("m", "ef_construction")}
    (shared / "kind.json").write_text(json.dumps({"kind": kind, **parameters}), encoding="utf-8")


def kind_of(shared: Path) -> dict[str, Any]:
    """Return it: kind, m and ef_construction."""
    path = shared / "kind.json"
    kind: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else _USUAL
    return kind


def built_s(shared: Path) -> float:
    """Return how long the building took."""
    return float(json.loads((shared / _BUILT).read_text(encoding="utf-8")))


def build(shared: Path, vectors: Path) -> Path:
    """Return the file of the index over a .npy file's rows, by inner product; built where it is missing."""
    path = shared / "index.faiss"
    if not path.is_file():
        rows, kind = np.load(vectors), kind_of(shared)
        dimension = rows.shape[1]
        if kind["kind"] == "flat":
            index: Any = faiss.IndexFlatIP(dimension)
        else:
            index = faiss.IndexHNSWFlat(dimension, kind["m"], faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = kind["ef_construction"]
        began = time.perf_counter()
        index.add(rows)
        took = time.perf_counter() - began
        faiss.write_index(index, str(path))
        (shared / _BUILT).write_text(json.dumps(took), encoding="utf-8")
    return path
