"""Parquet tables as other programs write them."""

from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pytest

from service.cli.moving.parquet import ParquetSink
from service.cli.moving.sources import open_source

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def test_vectors_of_any_list_type_come_with_their_columns_as_metadata(tmp_path: Path) -> None:
    vectors = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    for kind in (pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32())):
        table = pa.table(
            {
                "emb": pa.array(vectors, kind),
                "identity": ["a", None, "b"],
                "n": [1, 2, None],
                "time": [moment] * 3,
            }
        )
        pq.write_table(table, tmp_path / "t.parquet")
        source = open_source(tmp_path / "t.parquet", labels=None, columns={"vector": "emb"}, prefix="")
        rows = list(source.rows({}))
        assert (source.total, source.dimension) == (3, 2)
        np.testing.assert_array_equal([row.content for row in rows], vectors)
        assert [(row.id, row.identity) for row in rows] == [("0", "a"), ("1", None), ("2", "b")]
        assert rows[0].metadata == {"n": 1, "time": moment.isoformat()}
        assert "n" not in rows[2].metadata


def test_a_missing_vector_is_a_row_without_numbers_and_the_others_keep_theirs(tmp_path: Path) -> None:
    table = pa.table({"vector": pa.array([None, [1.0, 2.0], None, [5.0, 6.0]], pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "t.parquet")
    source = open_source(tmp_path / "t.parquet", labels=None, columns={}, prefix="")
    assert [np.asarray(row.content).tolist() for row in source.rows({})] == [[], [1, 2], [], [5, 6]]
    assert source.dimension == 2


def test_paths_are_of_pictures_beside_the_table(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"path": ["a/1.jpg"], "id": [5], "metadata": ['{"k": [1]}']}), tmp_path / "t.parquet"
    )
    source = open_source(tmp_path / "t.parquet", labels=None, columns={}, prefix="")
    (row,) = source.rows({})
    assert (source.dimension, row.id, row.metadata, row.content) == (
        None,
        "5",
        {"k": [1]},
        tmp_path / "a/1.jpg",
    )


def test_an_export_of_an_empty_collection_keeps_its_dimension(tmp_path: Path) -> None:
    ParquetSink(tmp_path / "e.parquet", {"metric": "cosine"}, 3).close()
    source = open_source(tmp_path / "e.parquet", labels=None, columns={}, prefix="")
    assert (source.total, source.dimension, source.config) == (0, 3, {"metric": "cosine"})


def test_tables_that_cannot_be_imported_say_why(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    for table, columns, word in (
        ({"name": ["a"]}, {}, "none is called vector or path"),
        ({"vector": ["a"]}, {}, "no lists of numbers"),
        ({"path": ["a.jpg"]}, {"id": "nope"}, "has the columns path, and none is called nope"),
        ({"path": ["a.jpg"], "id": ["a"], "key": ["b"]}, {"id": "key"}, "same name"),
    ):
        pq.write_table(pa.table(table), path)
        with pytest.raises(click.ClickException, match=word):
            open_source(path, labels=None, columns=columns, prefix="")
    pq.write_table(pa.table({"path": ["a.jpg"], "metadata": ["[1]"]}), path)
    with pytest.raises(click.ClickException, match="no object as JSON"):
        list(open_source(path, labels=None, columns={}, prefix="").rows({}))
