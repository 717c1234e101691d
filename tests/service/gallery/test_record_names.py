"""Names that are remembered are those that were written."""

import threading
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import DamageError
from service.gallery.collection import NewItem, SearchOptions
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from service.gallery.index.accelerator import Stopped
from service.gallery.index.buffers import Integers
from service.gallery.named_matches import opening_of
from service.gallery.packed_names import Name, PackedNames, joined, packed
from service.gallery.record_names import RecordNames
from tests.service.gallery.conftest import MakeCollection
from tests.service.gallery.test_scrub import change

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=5)
PLAIN = SearchOptions(k=5, with_metadata=False)
QUERY = np.ones((1, 2), np.float32)


@given(
    parts=st.lists(
        st.dictionaries(st.integers(1, 1000), st.tuples(NAMES, st.none() | NAMES), max_size=8), max_size=4
    )
)
def test_packed_names_come_out_as_they_went_in(parts: list[dict[int, Name]]) -> None:
    all_names = {
        number * 1000 + label: name for number, part in enumerate(parts) for label, name in part.items()
    }
    numbered = [
        {number * 1000 + label: name for label, name in part.items()} for number, part in enumerate(parts)
    ]
    made = joined([PackedNames(), *map(packed, numbered)])
    asked = [*range(1, 5000, 7), *all_names]
    assert made.find(asked) == {label: all_names[label] for label in asked if label in all_names}
    assert made.last_label == max(all_names, default=0)


@pytest.fixture
def opened(collection: MakeCollection) -> EmbeddedCollection:
    """Return a collection of five items, opened again, of whose names none is remembered."""
    made = collection()
    vectors = np.arange(1, 11, dtype=np.float32).reshape(5, 2)
    made.upsert([NewItem(f"i{n}", f"p{n}" if n else None, vector, {}) for n, vector in enumerate(vectors)])
    made.close()
    return collection()


def labels(some: list[int]) -> Integers:
    return np.array(some, np.int64)


def pack(collection: EmbeddedCollection) -> None:
    index = collection._index
    collection._record.names.pack(index.last_label, index.living, threading.Event())


def test_searches_in_memory_need_names_that_are_there(opened: EmbeddedCollection) -> None:
    assert opened.search_in_memory(QUERY, PLAIN) is None
    pack(opened)
    found = opened.search_in_memory(QUERY, PLAIN)
    assert found == opened.search(QUERY, PLAIN)
    assert [(match.id, match.identity) for match in found[0]][:2] == [("i0", None), ("i1", "p1")]
    assert (
        opened.search_in_memory(QUERY, SearchOptions(k=5, with_metadata=True)) is None
    )  # metadata is in the record


def test_what_is_written_is_remembered_at_once(opened: EmbeddedCollection) -> None:
    pack(opened)
    opened.upsert([NewItem("i2", "q", QUERY[0], {})])
    opened.delete(["i0"])
    found = opened.search_in_memory(QUERY, PLAIN)
    assert found is not None
    assert [(match.id, match.identity) for match in found[0]] == [
        ("i2", "q"),
        ("i1", "p1"),
        ("i3", "p3"),
        ("i4", "p4"),
    ]


def test_a_damaged_name_is_not_packed_and_is_told(opened: EmbeddedCollection, tmp_path: Path) -> None:
    change(tmp_path / "people" / RECORD_FILE, "UPDATE items SET identity = 'other' WHERE id = 'i3'")
    pack(opened)
    assert opened.search_in_memory(QUERY, PLAIN) is None
    (matches,) = opened.search(QUERY, PLAIN)
    assert "i3" not in {match.id for match in matches}
    assert opened.stats().integrity.damaged == ("i3",)


def test_a_name_that_is_no_text_any_more_is_told_with_its_label_and_as_text(
    opened: EmbeddedCollection, tmp_path: Path
) -> None:
    change(tmp_path / "people" / RECORD_FILE, "UPDATE items SET id = CAST(x'6933E2' AS TEXT) WHERE id = 'i3'")
    with pytest.raises(DamageError, match=r"'i3\?' \(label 4\).*delete it"):
        opened._record.names.of(range(1, 6))
    opened.scrub.run(threading.Event())
    assert opened.stats().integrity.damaged == ("i3?",)


def test_more_names_may_be_asked_for_than_are_at_hand(opened: EmbeddedCollection) -> None:
    names = RecordNames(opened._record._database, most=3)
    wanted = [opening_of(f"i{n}", f"p{n}" if n else None) for n in range(5)]
    assert names.openings_of(labels([1, 2])) == wanted[:2]
    for _ in range(2):  # what was known is let go of while the others are learnt
        assert names.openings_of(labels([1, 5, 2, 4, 3, 1])) == [wanted[n - 1] for n in (1, 5, 2, 4, 3, 1)]
    assert names.remembered_openings_of(labels([1, 2, 3, 4, 5])) is None
    assert names.openings_of(labels([1, 6])) is None
    assert names.openings_of(labels([])) == []


def test_a_name_that_is_forgotten_while_others_are_read_is_answered(
    opened: EmbeddedCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = opened._record.names
    read, known = names.of, names.openings_of(labels([4]))
    assert known

    def forget_and_read(labels: Collection[int]) -> dict[int, Name]:
        names.forget([4])
        return read(labels)

    monkeypatch.setattr(names, "of", forget_and_read)
    assert names.openings_of(labels([4, 5])) == [*known, opening_of("i4", "p4")]
    assert names.remembered_openings_of(labels([4])) is None


def test_packing_can_be_stopped(opened: EmbeddedCollection) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        opened._record.names.pack(opened._index.last_label, opened._index.living, stop)
    assert opened.search_in_memory(QUERY, PLAIN) is None


def test_names_of_many_rows_that_are_gone_are_let_go(opened: EmbeddedCollection) -> None:
    pack(opened)
    before = opened._record.names.memory_bytes
    opened.delete(["i0", "i1", "i2", "i3"])
    opened.upsert([NewItem("new", None, QUERY[0], {})])
    pack(opened)
    assert opened._record.names.memory_bytes < before
    assert opened.search_in_memory(QUERY, PLAIN) == opened.search(QUERY, PLAIN)
