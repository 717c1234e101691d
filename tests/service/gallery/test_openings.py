"""A text that is known is that of its label, whatever else was learnt meanwhile."""

import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gallery import openings
from service.gallery.index.buffers import Integers
from service.gallery.openings import Openings, _Table

PATIENCE_S = 60
LABELS = st.lists(st.integers(1, 60), max_size=8, unique=True)


def text_of(label: int) -> bytes:
    return b"text of %d" % label


def known_of(table: Openings, labels: list[int]) -> list[int]:
    """Return which labels are known, whose texts are theirs."""
    asked = np.array(labels, np.int64)
    texts, known = table.of(asked)
    if known is None:
        known = np.ones(len(labels), np.bool_)
    there: list[int] = asked[known].tolist()
    assert texts[known].tolist() == [text_of(label) for label in there]
    return there


@given(
    most=st.sampled_from([1, 5, 40, 100]),
    at_first=st.sampled_from([1, 3, 1000]),
    steps=st.lists(st.tuples(st.booleans(), LABELS), max_size=12),
)
def test_texts_are_those_of_their_labels(
    most: int, at_first: int, steps: list[tuple[bool, list[int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openings, "_AT_FIRST", at_first)
        table, learnt = Openings(most), set[int]()
        for forgotten, labels in steps:
            if forgotten:
                table.forget(labels)
                learnt -= set(labels)
            else:
                table.learn({label: text_of(label) for label in labels})
                learnt |= set(labels)
                assert set(labels[-1:]) <= set(known_of(table, labels))  # nobody has taken its place
            known = known_of(table, list(range(1, 61)))
            assert set(known) <= learnt
            assert len(known) <= most
            if most >= 60:  # each has a place of its own, sooner or later
                assert set(known) == learnt


def test_of_labels_that_follow_each_other_all_are_known_that_there_is_room_for() -> None:
    table = Openings(5_000)
    for first in range(1, 20_000, 500):
        table.learn({label: text_of(label) for label in range(first, first + 500)})
    assert known_of(table, list(range(1, 20_001))) == list(range(15_001, 20_001))
    table.forget(range(16_001, 20_001))
    assert known_of(table, list(range(1, 20_001))) == list(range(15_001, 16_001))


def test_as_it_grows_those_stay_that_follow_each_other() -> None:
    table = Openings(100_000)
    for first in range(1, 50_000, 100):
        table.learn({label: text_of(label) for label in range(first, first + 100)})
    assert known_of(table, list(range(1, 50_001))) == list(range(1, 50_001))


def test_nothing_is_asked_for() -> None:
    table = Openings(5)
    table.learn({1: text_of(1)})
    assert known_of(table, []) == []
    assert table.of(np.empty(0, np.int64))[1] is None


@pytest.mark.parametrize("most", [7, 600])  # of few NumPy keeps the interpreter while it writes
def test_while_others_learn_and_forget_no_label_gets_the_text_of_another(most: int) -> None:
    table, stop, deadline = Openings(most), threading.Event(), time.monotonic() + PATIENCE_S
    labels = list(range(1, 4 * most + 1))
    met: set[int] = set()

    def change(first: int) -> None:
        while not stop.is_set():
            table.learn({label: text_of(label) for label in range(first, first + most)})
            table.forget([first + 3])

    threads = [threading.Thread(target=change, args=(1 + at * most,)) for at in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        looked = 0
        while looked < 100_000 / most or len(met) <= most:
            met.update(known_of(table, labels))
            looked += 1
            assert time.monotonic() < deadline
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)


@pytest.mark.parametrize("written", ["texts", "labels"])
def test_what_is_half_written_is_not_known(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table, known = Openings(5), list[list[int]]()
    table.learn({label: text_of(label) for label in (1, 2)})

    def half(places: _Table, labels: Integers, texts: list[bytes]) -> None:
        if written == "texts":
            places.texts[labels % 5] = texts
        else:
            places.labels[labels % 5] = labels
        known.append(known_of(table, [1, 2, 6, 7]))
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(openings, "_put", half)
        with pytest.raises(MemoryError):
            table.learn({label: text_of(label) for label in (6, 7)})
    assert known == [[]]
    assert known_of(table, [1, 2, 6, 7]) == []
    table.learn({6: text_of(6)})
    assert known_of(table, [1, 2, 6, 7]) == [6]


def test_whoever_looks_while_it_changes_knows_nothing() -> None:
    table = Openings(5)
    table.learn({1: text_of(1)})
    learnt = [{6: text_of(6)}]

    class Slow(np.ndarray[Any, Any]):
        def take(self, *args: Any, **more: Any) -> Any:
            taken = np.asarray(self).take(*args, **more)
            if learnt:
                table.learn(learnt.pop())  # between the labels and the texts, in the same place
            return taken

    assert table._table is not None
    table._table = table._table._replace(labels=table._table.labels.view(Slow))
    assert known_of(table, [1]) == []
    assert known_of(table, [1, 6]) == [6]


def test_while_one_changes_it_another_does_not_wait_to_learn() -> None:
    table = Openings(10)
    table.learn({1: text_of(1)})
    with table._lock:
        table.learn({2: text_of(2)})
    assert known_of(table, [1, 2]) == [1]
