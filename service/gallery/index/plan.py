"""What index a collection gets: as it was asked for, or by its size and the memory that there is."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from service.gallery.collection import CollectionMetric
from service.gallery.index.sizes import Sizes
from service.gallery.indexing import IndexType

__all__ = ["Kind", "Plan", "plan_for"]

Kind: TypeAlias = Literal["flat", "hnsw", "ivf"]
Quantization: TypeAlias = Literal["none", "sq8"]

_SHARE_OF_MEMORY = 0.5
_USUAL = {"m": 32, "ef_construction": 80}
_LISTS_PER_ROOT = 4  # nlist = 4 sqrt(N), as FAISS's guidelines have it


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build, and why.

    Attributes:
        kind: flat scans the rows; the others propose candidates, which are measured exactly.
        quantization: what FAISS computes with: the rows, or codes of a byte a number.
        why: a sentence for whoever asks.
        m: links of a node in HNSW.
        ef_construction: how widely its links are sought.
        nlist: lists of IVF.
        effort: ef_search or nprobe as asked for; None where it is found by measuring.
        halved: whether FAISS walks the graph by copies of the rows in bfloat16, which take half as long to
            read; unlike codes they are found to be as good as the rows.
    """

    kind: Kind
    quantization: Quantization = "none"
    why: str = ""
    m: int = 0
    ef_construction: int = 0
    nlist: int = 0
    effort: int | None = None
    halved: bool = False

    @property
    def approximate(self) -> bool:
        """Return whether it needs more than the rows."""
        return self.kind != "flat" or self.quantization != "none"

    @property
    def storage_apart(self) -> bool:
        """Return whether what it computes with, the rows or copies, lies in a file of its own."""
        return self.kind == "hnsw" and self.quantization == "none"

    @property
    def name(self) -> str:
        """Return how it is called where people read it."""
        return self.kind if self.quantization == "none" else f"{self.kind}, {self.quantization}"

    def memory_bytes(self, rows: int, dimension: int) -> int:
        """Return about how many bytes it takes beside the rows."""
        links = rows * (self.m * 2 * 4 * 17 // 16 + 16) if self.kind == "hnsw" else 0
        lists = rows * 8 if self.kind == "ivf" else 0
        own = 1 if self.quantization == "sq8" else 4 if self.kind == "ivf" else 2 if self.halved else 0
        return links + lists + rows * dimension * own

    def same_kind(self, other: "Plan") -> bool:
        """Return whether they differ in nothing but numbers."""
        return (self.kind, self.quantization) == (other.kind, other.quantization)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept in a file."""
        return dataclasses.asdict(self)


def plan_for(
    asked: IndexType,
    options: Mapping[str, Any],
    *,
    rows: int,
    dimension: int,
    metric: CollectionMetric,
    sizes: Sizes,
) -> Plan:
    """Return what to build for so many rows.

    Args:
        asked: the collection's index type.
        options: its parameters, as far as they were given.
        rows: how many there are.
        dimension: D.
        metric: how rows are compared.
        sizes: up to which `auto` scans, and needs no codes.
    """
    quantization: Quantization = options.get("quantization", "none")
    size = rows * dimension * 4
    if asked == "flat":
        return Plan("flat", quantization, "asked for")
    if asked == "ivf":
        return _ivf(options, quantization, rows, "asked for")
    if asked == "hnsw":
        return _hnsw(options, quantization, metric, "asked for")
    if not rows:
        return Plan("flat", why="there are no items")
    if size <= sizes.scanned_bytes:
        return Plan("flat", why=f"{rows:,} items of {dimension} numbers are scanned in about a millisecond")
    exact = _hnsw({}, "none", metric, f"{rows:,} items of {dimension} numbers would take long to scan")
    if size + exact.memory_bytes(rows, dimension) <= _SHARE_OF_MEMORY * sizes.memory_bytes:
        return exact
    needed = (size + exact.memory_bytes(rows, dimension)) / 2**20
    why = (
        f"HNSW over the numbers themselves would take {needed:,.0f} of {sizes.memory_bytes / 2**20:,.0f} MiB"
    )
    return _hnsw({}, "sq8", metric, why)


def _hnsw(options: Mapping[str, Any], quantization: Quantization, metric: CollectionMetric, why: str) -> Plan:
    chosen = {**_USUAL, **{name: options[name] for name in _USUAL if name in options}}
    # Rows of any length may lie closer together than eight bits can tell; those of length 1 need not.
    halved = quantization == "none" and metric == "cosine"
    return Plan("hnsw", quantization, why, **chosen, effort=options.get("ef_search"), halved=halved)


def _ivf(options: Mapping[str, Any], quantization: Quantization, rows: int, why: str) -> Plan:
    lists = options.get("nlist", max(1, int(_LISTS_PER_ROOT * rows**0.5)))
    return Plan("ivf", quantization, why, nlist=max(1, min(lists, rows)), effort=options.get("nprobe"))
