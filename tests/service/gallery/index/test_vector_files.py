"""Files of rows are those that FAISS would write."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from service.gallery.collection import CollectionMetric, Vectors
from service.gallery.index.vector_files import flat_index, in_parts, open_vectors, write_vectors
from tests.service.gallery.index.galleries import DIMENSION, embeddings

ROWS = embeddings(300, seed=1)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("cuts", [(), (0,), (1, 200), (300,)])
def test_rows_written_in_parts_are_the_file_that_faiss_writes(
    tmp_path: Path, metric: CollectionMetric, cuts: tuple[int, ...]
) -> None:
    index = flat_index(DIMENSION, metric)
    index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "theirs"))
    write_vectors(tmp_path / "ours", np.split(ROWS, cuts), ROWS.shape, metric)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_rows_are_read_and_written_again_from_where_they_are_mapped(tmp_path: Path) -> None:
    write_vectors(tmp_path / "first", [ROWS], ROWS.shape, "cosine")
    mapped = open_vectors(tmp_path / "first", ROWS.shape)
    assert np.array_equal(mapped, ROWS)
    assert not mapped.flags.writeable
    kept = np.arange(len(ROWS)) % 3 > 0
    write_vectors(tmp_path / "second", [mapped[kept]], (int(kept.sum()), DIMENSION), "cosine")
    assert np.array_equal(open_vectors(tmp_path / "second", (int(kept.sum()), DIMENSION)), ROWS[kept])


@pytest.mark.parametrize("rows", [1, 7, 299, 300, 1_000])
def test_parts_are_the_rows_that_live_on_in_order(rows: int) -> None:
    kept = np.random.default_rng(2).random(len(ROWS)) < 0.7
    kept[20:60] = True
    parts = [*in_parts(ROWS, kept, part_bytes=rows * ROWS[0].nbytes)]
    assert len(parts) == -(-len(ROWS) // rows)
    assert np.array_equal(np.concatenate(parts), ROWS[kept])
    assert [*in_parts(ROWS[:0], kept[:0])] == []


def test_writing_stops_between_parts(tmp_path: Path) -> None:
    class Told(Exception):  # noqa: N818 - as one is told to stop
        pass

    left = [None, None]

    def go_on() -> None:
        if not left:
            raise Told
        left.pop()

    with pytest.raises(Told):
        write_vectors(tmp_path / "rows", np.split(ROWS, 3), ROWS.shape, "cosine", go_on=go_on)
    assert 200 * ROWS[0].nbytes <= (tmp_path / "rows").stat().st_size < 201 * ROWS[0].nbytes


@pytest.mark.parametrize("parts", [[ROWS[:299]], [ROWS, ROWS[:1]], []])
def test_more_rows_or_fewer_than_were_said_are_noticed(tmp_path: Path, parts: list[Vectors]) -> None:
    with pytest.raises(ValueError, match="300 were to be"):
        write_vectors(tmp_path / "rows", parts, ROWS.shape, "cosine")


def test_what_the_disk_refuses_is_an_os_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="rows could not be written"):
        write_vectors(tmp_path / "no folder" / "rows", [ROWS], ROWS.shape, "cosine")
