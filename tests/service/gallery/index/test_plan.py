"""What an index is to be, by size and memory."""

from typing import Any

import pytest

from service.errors import InvalidFieldsError
from service.gallery.collection import CollectionConfig
from service.gallery.index.plan import plan_for
from service.gallery.index.sizes import Sizes

MIB = 2**20


@pytest.mark.parametrize(
    ("rows", "memory_mib", "name", "because"),
    [
        (0, 4096, "flat", "there are no items"),
        (1_000, 4096, "flat", "scanned in about a millisecond"),
        (16_384, 4096, "flat", "scanned in about a millisecond"),
        (16_385, 4096, "hnsw", "long to scan"),
        (1_000_000, 4096, "hnsw", "long to scan"),
        (1_000_000, 1024, "hnsw, sq8", "of 1,024 MiB"),
    ],
)
def test_auto_picks_by_size_and_memory_and_says_why(
    rows: int, memory_mib: int, name: str, because: str
) -> None:
    plan = plan_for(
        "auto", {}, rows=rows, dimension=128, metric="cosine", sizes=Sizes(memory_bytes=memory_mib * MIB)
    )
    assert plan.name == name
    assert because in plan.why


def test_what_is_asked_for_is_what_one_gets() -> None:
    asked: dict[str, Any] = {"m": 12, "ef_construction": 33, "ef_search": 44, "quantization": "sq8"}
    plan = plan_for("hnsw", asked, rows=5, dimension=8, metric="cosine", sizes=Sizes())
    assert (plan.name, plan.m, plan.ef_construction, plan.effort) == ("hnsw, sq8", 12, 33, 44)
    plan = plan_for(
        "ivf", {"nlist": 100, "nprobe": 7}, rows=5_000, dimension=8, metric="cosine", sizes=Sizes()
    )
    assert (plan.name, plan.nlist, plan.effort) == ("ivf", 100, 7)
    assert plan_for("ivf", {}, rows=10_000, dimension=8, metric="cosine", sizes=Sizes()).nlist == 400


@pytest.mark.parametrize(
    ("kind", "options", "pointer"),
    [
        ("auto", {"m": 16}, "/index/m"),
        ("flat", {"nprobe": 1}, "/index/nprobe"),
        ("hnsw", {"m": 3}, "/index/m"),
        ("hnsw", {"m": True}, "/index/m"),
        ("ivf", {"nlist": 0}, "/index/nlist"),
        ("ivf", {"quantization": "pq"}, "/index/quantization"),
        ("nsw", {}, "/index/type"),
    ],
)
def test_parameters_that_a_type_does_not_take_are_refused(
    kind: Any, options: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidFieldsError) as refused:
        CollectionConfig(dimension=2, metric="euclidean", index_type=kind, index=options)
    assert [where for where, _ in refused.value.errors] == [pointer]
