"""When codes are made and laid in order: once scans have taken as long as that."""

import threading
from typing import Any

import numpy as np
import pytest

from service.gallery.collection import Vectors
from service.gallery.index.codes import Codes, Order
from service.gallery.index.coding import Coding

VECTORS: Vectors = np.random.default_rng(1).standard_normal((1_000, 8)).astype(np.float32)


def unordered(name: str | None) -> None:
    """Know no order."""


def made(**limits: int) -> Coding:
    """Return one that has made its codes."""
    coding = Coding(least_rows=10, **limits)
    coding.note(1_000)
    coding.encode_if_due(VECTORS, unordered)
    return coding


def test_they_are_made_once_as_many_rows_were_scanned_as_there_are() -> None:
    coding = Coding(least_rows=10)
    for rows in (500, 9, 499):  # 9 are too few to count
        coding.note(rows)
        coding.encode_if_due(VECTORS, unordered)
        assert coding.for_scan(500) is None
        assert coding.weight(VECTORS, 600) == 600
        assert coding.memory_bytes == 0
    coding.note(10)
    assert coding.weight(VECTORS, 600) == 1_000  # as all are read to make them
    coding.encode_if_due(VECTORS, unordered)
    assert coding.for_scan(500) is not None
    assert coding.for_scan(9) is None
    assert coding.weight(VECTORS, 600) == 100
    assert coding.weight(VECTORS, 9) == 9
    assert coding.memory_bytes == 16_000


def test_rows_that_would_take_too_much_room_have_none() -> None:
    room = 1_000 * (16 + 12)  # with an order
    assert made(most_bytes=room - 1).for_scan(500) is None
    assert made(most_bytes=room).for_scan(500) is not None


def test_rows_without_a_scale_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(Codes, "of", lambda vectors: tried.append(len(vectors)))
    coding = made()
    coding.note(10_000)
    coding.encode_if_due(VECTORS, unordered)
    assert tried == [1_000]
    assert coding.weight(VECTORS, 600) == 600


def test_they_are_laid_in_a_better_order_where_taking_some_out_took_as_long() -> None:
    coding, asked = made(), list[str | None]()
    positions = np.random.default_rng(2).permutation(1_000)

    def order(name: str | None) -> Order | None:
        asked.append(name)
        return None if name == "day" else Order.by("day", positions)

    before = coding.for_scan(500)
    coding.note(7_999)
    coding.encode_if_due(VECTORS, order)
    assert coding.for_scan(500) is before
    coding.note(10)
    assert coding.weight(VECTORS, 600) == 1_000
    coding.encode_if_due(VECTORS, order)
    laid = coding.for_scan(500)
    assert laid is not None
    assert laid.order is not None
    assert laid.order.name == "day"
    assert coding.memory_bytes == 16_000 + 12_000
    coding.note(8_000)
    coding.encode_if_due(VECTORS, order)
    assert coding.for_scan(500) is laid  # as it is the same order
    assert asked == [None, "day"]


def test_codes_that_do_not_tell_are_used_no_more_and_given_up() -> None:
    coding = made()
    codes = coding.for_scan(500)
    assert codes is not None
    codes.uses, codes.misses = 16, 9
    assert coding.for_scan(500) is None
    coding.note(8_000)
    coding.encode_if_due(VECTORS, unordered)
    assert coding.memory_bytes == 0
    coding.note(8_000)
    coding.encode_if_due(VECTORS, unordered)
    assert coding.memory_bytes == 0


def test_who_comes_while_they_are_made_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    coding = Coding(least_rows=10)
    coding.note(1_000)
    began, go_on = threading.Event(), threading.Event()
    of = Codes.of

    def slowly(vectors: Any) -> Codes | None:
        began.set()
        assert go_on.wait(30)
        return of(vectors)

    monkeypatch.setattr(Codes, "of", slowly)
    thread = threading.Thread(target=coding.encode_if_due, args=[VECTORS, unordered])
    thread.start()
    assert began.wait(30)
    coding.encode_if_due(VECTORS, unordered)  # returns at once, or this would wait for itself
    assert coding.for_scan(500) is None
    go_on.set()
    thread.join(30)
    assert coding.for_scan(500) is not None


def test_where_there_is_no_memory_for_them_rows_are_scanned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(vectors: Vectors) -> Codes:
        raise MemoryError

    monkeypatch.setattr(Codes, "of", refuse)
    coding = made()
    assert coding.for_scan(500) is None
    assert "no memory for codes of 1,000 rows" in caplog.text
    monkeypatch.undo()
    coding.note(8_000)
    coding.encode_if_due(VECTORS, unordered)
    assert coding.for_scan(500) is None  # nor are they tried again
