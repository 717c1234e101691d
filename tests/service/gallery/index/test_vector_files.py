"""Files of rows are those that FAISS would write."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from service.gallery.collection import CollectionMetric
from service.gallery.index.vector_files import flat_index, open_vectors, write_vectors
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


def test_what_the_disk_refuses_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no folder"):
        write_vectors(tmp_path / "no folder" / "rows", [ROWS], ROWS.shape, "cosine")
