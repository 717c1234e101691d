"""What an index may be asked to be, and how one and its collection stand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["INDEX_OPTIONS", "CollectionStats", "IndexStats", "IndexType", "Integrity", "wrong_options"]

IndexType: TypeAlias = Literal["auto", "flat", "hnsw", "ivf"]

# By type: the parameters that it takes, and their range, or their values.
INDEX_OPTIONS: Mapping[str, Mapping[str, tuple[int, int] | tuple[str, ...]]] = {
    "auto": {},
    "flat": {"quantization": ("none", "sq8")},
    "hnsw": {
        "m": (4, 128),
        "ef_construction": (8, 2_000),
        "ef_search": (1, 100_000),
        "quantization": ("none", "sq8"),
    },
    "ivf": {"nlist": (1, 1_000_000), "nprobe": (1, 1_000_000), "quantization": ("none", "sq8")},
}


def wrong_options(kind: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is wrong with an index's parameters, by pointer."""
    wrong: list[tuple[str, str]] = []
    for name, value in options.items():
        allowed = INDEX_OPTIONS[kind].get(name)
        if allowed is None:
            known = ", ".join(INDEX_OPTIONS[kind]) or "no parameters; name a type for that"
            wrong.append((f"/index/{name}", f"is none of {kind}'s: it takes {known}"))
        elif isinstance(allowed[0], str):
            if value not in allowed:
                wrong.append((f"/index/{name}", f"must be one of {', '.join(map(str, allowed))}"))
        elif type(value) is not int or not allowed[0] <= value <= int(allowed[1]):
            wrong.append((f"/index/{name}", f"must be a whole number, {allowed[0]} to {allowed[1]}"))
    return wrong


@dataclass(frozen=True, slots=True)
class IndexStats:
    """How an index stands.

    Attributes:
        type: as it was asked for.
        chosen, quantization: what is searched now.
        why: why that, or what is to come.
        state: whether another one is being built, or waits until it can be; it is searched meanwhile.
        progress: of what is being built, 0 to 1.
        sealed: rows in the snapshot, dead ones included.
        pending: items that are not in it yet.
        dead_share: of the snapshot's rows.
        parameters: with which it is built and searched.
        snapshot_s: when it was written, in seconds since 1970.
        build_s: seconds that it took.
        problem: why the last snapshot could not be written.
    """

    type: IndexType
    chosen: str
    quantization: str
    why: str
    state: Literal["ready", "building"]
    progress: float | None
    sealed: int
    pending: int
    dead_share: float
    parameters: Mapping[str, int]
    snapshot_s: float | None
    build_s: float | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Integrity:
    """How a record stands beside its checksums.

    Attributes:
        state: unchecked means not since it was opened.
        checked_s: when it was, in seconds since 1970.
        rows_checked: how many rows that were.
        damaged: the first ids of items that are damaged, or whose pictures are.
        damaged_items: how many these are.
        problem: what else is damaged, and what to do.
    """

    state: Literal["unchecked", "ok", "damaged"]
    checked_s: float | None
    rows_checked: int
    damaged: tuple[str, ...]
    damaged_items: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """How a collection stands.

    Attributes:
        items: how many.
        disk_bytes: of its files.
        memory_bytes: of its index, and of what is remembered.
        index: how that stands.
        integrity: how the record stands beside its checksums.
        erasing: whether files may still hold what was erased; see `Collection.erase`.
    """

    items: int
    disk_bytes: int
    memory_bytes: int
    index: IndexStats
    integrity: Integrity
    erasing: bool = False
