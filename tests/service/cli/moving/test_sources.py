"""What is read of folders, tables and arrays to be imported."""

import json
from contextlib import closing
from pathlib import Path

import click
import numpy as np
import pytest
from safetensors.numpy import save_file

from service.cli.moving.exporting import TensorSink
from service.cli.moving.rows import Row
from service.cli.moving.sources import open_source
from service.gallery.items import name_problem

VECTORS = np.arange(12, dtype=np.float64).reshape(4, 3)


def rows_of(path: Path, labels: str | None = None, columns: dict[str, str] | None = None) -> list[Row]:
    source = open_source(path, labels=labels, columns=columns or {}, prefix="")
    rows = list(source.rows({"n": "integer", "x": "float", "seen": "boolean"}))
    assert len(rows) == source.total
    return rows


def assert_vectors(rows: list[Row]) -> None:
    np.testing.assert_array_equal([row.content for row in rows], VECTORS.astype(np.float32))


def test_a_folder_gives_identities_by_its_folders(tmp_path: Path) -> None:
    for name in (
        "ann/1.jpg",
        "ann/left/2.PNG",
        "bob/1.webp",
        "3.jpeg",
        "ann/.hidden.jpg",
        ".x/1.jpg",
        "ann/a.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert {(row.id, row.identity) for row in rows_of(tmp_path)} == {
        ("ann:1.jpg", "ann"),
        ("ann:left:2.PNG", "ann"),
        ("bob:1.webp", "bob"),
        ("3.jpeg", None),
    }


def test_links_to_folders_are_passed_over_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people" / "ann").mkdir(parents=True)
    (tmp_path / "people" / "ann" / "1.jpg").write_bytes(b"")
    assert [row.id for row in rows_of(tmp_path / "people")] == ["ann:1.jpg"]
    assert capsys.readouterr().err == ""
    for name in ("bob", "ann/all", ".hidden"):
        (tmp_path / "people" / name).symlink_to(tmp_path / "people")
    (tmp_path / "people" / "2.jpg").symlink_to(tmp_path / "people" / "ann" / "1.jpg")
    assert [row.id for row in rows_of(tmp_path / "people")] == ["2.jpg", "ann:1.jpg"]
    said = capsys.readouterr().err
    assert "2 passed over" in said
    assert "people/bob" in said


def test_a_table_gives_ids_identities_and_typed_metadata(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        "key,person,path,n,x,seen,note\nk1,0042,a/1.jpg,7,0.5,true,'hi'\n,,b.jpg,,,,\nk3,p,c.jpg,seven,1,maybe,007\n"
    )
    first, second, third = rows_of(table, columns={"id": "key", "identity": "person"})
    assert (first.id, first.identity, first.content) == ("k1", "0042", tmp_path / "a/1.jpg")
    assert first.metadata == {"n": 7, "x": 0.5, "seen": True, "note": "'hi'"}
    assert (second.id, second.identity, second.metadata) == ("b.jpg", None, {})
    assert third.metadata == {"n": "seven", "x": 1.0, "seen": "maybe", "note": "007"}
    assert third.where == "line 4: c.jpg"


@pytest.mark.parametrize(
    ("text", "columns", "word"),
    [
        ("identity,file\na,b\n", {}, "no column is called path"),
        ("", {"path": "file"}, r"t\.csv is empty, or its first line is"),
        ("\n", {}, r"t\.csv is empty, or its first line is"),
        ("path,path\na,b\n", {}, "same name"),
        ("path,n\na.jpg\n", {}, "line 2 has 1 cells"),
        ('path\n"a\n', {}, "no table in UTF-8"),
        ("path,who\na,b\n", {"identity": "Who"}, "has the columns path, who, and none is called Who"),
        ("path,who\na,b\n", {"identity": "who", "id": "who"}, "same name"),
    ],
)
def test_tables_that_cannot_be_read_say_why(
    tmp_path: Path, text: str, columns: dict[str, str], word: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(click.ClickException, match=word):
        rows_of(tmp_path / "t.csv", columns=columns)


@pytest.mark.parametrize("name", ["", "v.npy"])
def test_columns_are_refused_where_there_are_none(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    with pytest.raises(click.UsageError, match="--column is for tables"):
        rows_of(tmp_path / name, columns={"id": "name"})


@pytest.mark.parametrize("name", ["folder", "t.csv", "t.parquet"])
def test_what_has_nothing_in_it_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("no picture")
    elif name == "t.csv":
        path.write_text("path,identity\n")
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(
            pa.table({"path": pa.array([], pa.string())}), path
        )
    words = r"no \.jpg, \.jpeg, \.png, \.webp in .*folder\." if name == "folder" else r"no row in .*\."
    with pytest.raises(click.ClickException, match=words):
        rows_of(path)


def test_arrays_give_rows_by_number_with_labels_from_beside_or_within(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    np.save(tmp_path / "l.npy", np.array([3, 3, 4, 4]))
    np.savez(tmp_path / "v.npz", embeddings=VECTORS, labels=np.array(["a", "a", "b", "c"]), ids=[9, 8, 7, 6])
    save_file({"vectors": VECTORS, "labels": np.array([1, 2, 3, 4])}, tmp_path / "v.safetensors")
    plain = rows_of(tmp_path / "v.npy")
    assert [(row.id, row.identity) for row in plain] == [(str(n), None) for n in range(4)]
    labelled = rows_of(tmp_path / "v.npy", str(tmp_path / "l.npy"))
    assert [row.identity for row in labelled] == ["3", "3", "4", "4"]
    several = rows_of(tmp_path / "v.npz")
    assert [(row.id, row.identity) for row in several] == [("9", "a"), ("8", "a"), ("7", "b"), ("6", "c")]
    tensors = rows_of(tmp_path / "v.safetensors")
    assert [row.identity for row in tensors] == ["1", "2", "3", "4"]
    for rows in (plain, labelled, several, tensors):
        assert_vectors(rows)


def test_a_prefix_keeps_the_ids_of_two_sources_apart(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    source = open_source(tmp_path / "v.npy", labels=None, columns={}, prefix="new-")
    assert [row.id for row in source.rows({})] == ["new-0", "new-1", "new-2", "new-3"]


@pytest.mark.parametrize(("prefix", "word"), [("a/b", "holds a '/'"), ("a" * 256, "has 257 characters")])
def test_a_prefix_that_no_id_can_have_is_refused_where_ids_are_numbers(
    tmp_path: Path, prefix: str, word: str
) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(click.BadParameter, match=word):
        open_source(tmp_path / "v.npy", labels=None, columns={}, prefix=prefix)
    (row,) = open_source(tmp_path, labels=None, columns={}, prefix=prefix).rows({})
    assert name_problem(row.id) is None


def test_an_array_of_more_than_one_slice_is_read_whole(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(10_000, 2)).astype(np.float32)
    save_file({"vector": vectors}, tmp_path / "v.safetensors")
    np.testing.assert_array_equal([row.content for row in rows_of(tmp_path / "v.safetensors")], vectors)


def test_an_export_whose_lines_are_too_few_or_too_many_is_refused(tmp_path: Path) -> None:
    save_file({"vector": VECTORS}, tmp_path / "e.safetensors")
    for count in (3, 5):
        lines = [json.dumps({"id": str(n), "identity": None, "metadata": {}}) for n in range(count)]
        (tmp_path / "e.jsonl").write_text("\n".join(lines) + "\n")
        with pytest.raises(click.ClickException, match="not one line for each of 4 vectors"):
            rows_of(tmp_path / "e.safetensors")
    (tmp_path / "e.jsonl").write_text("[]\n")
    with pytest.raises(click.ClickException, match="line 1 is no item"):
        rows_of(tmp_path / "e.safetensors")


@pytest.mark.parametrize("count", [0, 2])
def test_an_export_without_its_lines_is_refused_also_an_empty_one(tmp_path: Path, count: int) -> None:
    path, lines = tmp_path / "e.safetensors", tmp_path / "e.jsonl"
    with closing(TensorSink(path, lines, {"metric": "cosine"}, 3)) as sink:
        if count:
            sink.write(
                [{"id": str(n), "identity": "p", "metadata": {}} for n in range(count)],
                VECTORS[:count].astype(np.float32),
            )
    assert [(row.id, row.identity) for row in rows_of(path)] == [(str(n), "p") for n in range(count)]
    source = open_source(path, labels=None, columns={}, prefix="")
    assert (source.dimension, source.config) == (3, {"metric": "cosine"})
    lines.unlink()
    with pytest.raises(click.ClickException, match=r"e\.jsonl is missing; it has the ids and identities"):
        rows_of(path)


@pytest.mark.parametrize("name", ["v.npy", "v.npz", "v.safetensors", "v.parquet"])
def test_files_that_are_none_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(b"not what it is called")
    with pytest.raises(click.ClickException, match="cannot be read"):
        rows_of(tmp_path / name)


def test_arrays_that_are_no_vectors_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros(4))
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "v.npy", VECTORS)
    np.save(tmp_path / "l.npy", np.array([1, 2, 3]))
    with pytest.raises(click.ClickException, match=r"\(N, D\)"):
        rows_of(tmp_path / "flat.npy")
    with pytest.raises(click.ClickException, match="real numbers"):
        rows_of(tmp_path / "words.npy")
    with pytest.raises(click.ClickException, match="4 vectors and 3 identities"):
        rows_of(tmp_path / "v.npy", str(tmp_path / "l.npy"))
