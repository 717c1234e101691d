"""Ids from paths, batches within their bounds, and the journal of what was acknowledged."""

from pathlib import Path

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli.moving.journal import Journal, Target
from service.cli.moving.rows import Limits, Row, batches, id_of_path, key_of
from service.gallery.items import name_problem

THERE = Target("http://a:1", "people")
NAMES = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=300).filter(
    lambda text: text.strip(".")
)


@given(st.lists(NAMES, min_size=1, max_size=3).map("/".join))
def test_every_path_becomes_an_id_that_the_gallery_takes(path: str) -> None:
    assert name_problem(id_of_path(path)) is None


@given(st.lists(st.text("ab:/%~", max_size=6), min_size=2, max_size=40, unique=True))
def test_different_paths_have_different_ids(paths: list[str]) -> None:
    assert len({id_of_path(path) for path in paths}) == len(paths)


def test_long_paths_that_begin_alike_have_different_ids() -> None:
    assert id_of_path("a" * 300 + "1") != id_of_path("a" * 300 + "2")
    assert id_of_path("ann/left/1.jpg") == "ann:left:1.jpg"


def row(name: str, numbers: int = 10) -> Row:
    return Row(name, None, {}, np.zeros(numbers, dtype=np.float32), name)


@given(st.lists(st.integers(1, 200), max_size=30), st.integers(1, 5), st.integers(100, 2000))
def test_batches_keep_order_and_bounds(sizes: list[int], items: int, most_bytes: int) -> None:
    rows = [row(str(n), size) for n, size in enumerate(sizes)]
    made = list(batches(rows, Limits(items, most_bytes)))
    assert [one.id for batch in made for one in batch] == [one.id for one in rows]
    for batch in made:
        assert 1 <= len(batch) <= items
        assert len(batch) == 1 or sum(one.size() for one in batch) <= most_bytes


def test_the_key_of_a_row_changes_with_all_that_is_sent(tmp_path: Path) -> None:
    vector = np.array([1, 2], dtype=np.float32)
    rows = [
        Row("a", None, {}, vector, ""),
        Row("b", None, {}, vector, ""),
        Row("a", "p", {}, vector, ""),
        Row("a", None, {"n": 1}, vector, ""),
        Row("a", None, {}, vector + 1, ""),
        Row("a", None, {}, tmp_path / "absent", ""),
    ]
    assert len({key_of(one) for one in rows}) == len(rows)
    assert key_of(rows[0]) == key_of(Row("a", None, {}, vector.copy(), "elsewhere"))
    (tmp_path / "picture").write_bytes(b"1")
    picture = Row("a", None, {}, tmp_path / "picture", "")
    before = key_of(picture)
    (tmp_path / "picture").write_bytes(b"12")
    assert key_of(picture) == before  # of what was there when it was seen
    assert key_of(Row("a", None, {}, tmp_path / "picture", "")) != before


def test_a_journal_knows_what_an_earlier_run_noted_also_where_its_end_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, THERE) as journal:
        assert journal.known([1, 2]) == [False, False]
        journal.add([1, 2**63 + 5])
        journal.add([3])
    path.write_bytes(path.read_bytes()[:-3])
    with Journal(path, THERE) as journal:
        assert journal.known([1, 2, 3, 2**63 + 5]) == [True, False, False, True]
        journal.add([4])
    with Journal(path, THERE) as journal:
        assert journal.known([1, 3, 4]) == [True, False, True]
        assert len(journal) == 3
        journal.forget()
        assert journal.known([1]) == [False]
    assert not path.exists()


def test_a_journal_of_another_target_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, THERE) as journal:
        journal.add([1])
    words = (
        r"into 'people' at http://a:1, and this one is into 'people' at http://a:2\. .*--journal.*delete it"
    )
    with pytest.raises(click.ClickException, match=words):
        Journal(path, THERE._replace(url="http://a:2"))
    with pytest.raises(click.ClickException, match="this one is into 'cars' at http://a:1"):
        Journal(path, THERE._replace(collection="cars"))
    (tmp_path / "other").write_bytes(b"id,vector\n1,2\n")
    with pytest.raises(click.ClickException, match="is not the journal of an import"):
        Journal(tmp_path / "other", THERE)
    assert (tmp_path / "other").read_bytes() == b"id,vector\n1,2\n"
    with Journal(path, THERE) as journal:
        assert journal.known([1]) == [True]


def test_a_journal_that_was_cut_off_in_its_head_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, THERE) as journal:
        journal.add([1])
    path.write_bytes(path.read_bytes()[:7])
    with Journal(path, THERE) as journal:
        assert journal.known([1]) == [False]
