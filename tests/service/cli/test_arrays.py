"""The files that numeric commands read and write."""

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file

from service.cli.arrays import check_output, read_labels, read_rows, write_arrays
from service.cli.tables import Layout

ROWS = [[0.5, 1.0, -2.0], [3.0, 0.0, 4.0]]
LAYOUT = Layout()


def saved(path: Path, array: npt.ArrayLike) -> str:
    np.save(path, array)
    return str(path)


def complaint(source: str | Path, *names: str) -> str:
    with pytest.raises(click.ClickException) as raised:
        read_rows(str(source), names or ("x",), LAYOUT)
    return raised.value.message


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        *(
            (dtype, torch.float32)
            for dtype in ("float16", "float32", ">f4", "int64", "uint64", "uint8", "bool")
        ),
        *((dtype, torch.float64) for dtype in ("float64", ">f8", "longdouble")),
    ],
)
def test_every_real_dtype_is_read(tmp_path: Path, dtype: str, expected: torch.dtype) -> None:
    array = np.abs(np.array(ROWS)).astype(dtype)
    for kept in (array, np.asfortranarray(array)):
        rows = read_rows(saved(tmp_path / "x.npy", kept), ("x",), LAYOUT).values
        assert rows.dtype == expected
        np.testing.assert_array_equal(rows, array.astype(np.float64))


def test_a_tensor_is_found_by_its_name(tmp_path: Path) -> None:
    x, y = torch.tensor(ROWS, dtype=torch.bfloat16), torch.tensor(ROWS).double() + 1
    one, several = tmp_path / "one.safetensors", tmp_path / "several.safetensors"
    save_file({"anything": x}, one)
    save_file({"x": x, "b": y, "labels": torch.tensor([7, 8])}, several)
    assert read_rows(str(one), ("x",), LAYOUT).values.tolist() == ROWS
    assert read_rows(str(several), ("x",), LAYOUT).values.dtype == torch.float32
    assert torch.equal(read_rows(f"{several}:b", ("x",), LAYOUT).values, y)
    assert read_rows(str(several), ("x",), LAYOUT, labelled=True).labels == [7, 8]
    assert read_rows(str(several), ("x",), LAYOUT).labels is None
    message = complaint(several, "anchor")
    assert "holds b, labels, x, none of them named anchor" in message
    assert f"such as {several}:b" in message
    assert "has no tensor 'c'; it has b, labels, x." in complaint(f"{several}:c")


def test_a_file_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors:b.npy"
    assert read_rows(saved(path, ROWS), ("x",), LAYOUT).values.tolist() == ROWS


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (
            np.zeros(3),
            "has 1 dimension; it takes rows and columns. Save a single row as array.reshape(1, -1).",
        ),
        (np.float32(1), "has 0 dimensions"),
        (np.zeros((1, 2, 3)), "has 3 dimensions"),
        (np.zeros((0, 3)), "is empty: 0 rows of 3 numbers"),
        (np.zeros((3, 0)), "is empty: 3 rows of 0 numbers"),
        (np.zeros((1, 1), complex), "holds complex128"),
        (np.array([["a"]]), "holds <U1"),
        (np.array([[1, None]]), "holds Python objects, which are never unpickled"),
        (np.array([[0, 1], [np.nan, 1], [np.inf, 1]]), "row 1, counted from 0, has NaN or infinity"),
    ],
)
def test_an_array_that_is_no_rows_is_refused(tmp_path: Path, array: npt.NDArray[Any], words: str) -> None:
    message = complaint(saved(tmp_path / "x.npy", array))
    assert message.startswith(str(tmp_path / "x.npy"))
    assert words in message


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 6, 30, 80, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, name: str, kept: int) -> None:
    whole, part = tmp_path / f"whole_{name}", tmp_path / name
    write_arrays(whole, {"x": torch.tensor(ROWS)})
    part.write_bytes(whole.read_bytes()[:kept])
    assert any(words in complaint(part) for words in ("cut short", "or a damaged one"))


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}", b"{((("])
def test_a_header_that_lies_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + b"0" * 64
    )
    assert any(words in complaint(path) for words in ("cut short", "or a damaged one"))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.npz").touch()
    save_file({}, tmp_path / "none.safetensors")
    assert complaint(tmp_path / "nowhere.npy") == f"There is no file {tmp_path / 'nowhere.npy'}."
    assert "files that are read end in .npy, .safetensors or .csv" in complaint(tmp_path / "x.npz")
    assert "is a folder" in complaint(tmp_path)
    assert "holds no tensor" in complaint(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([3, 1], np.uint16), [3, 1]),
        (np.array(["ann", "bob"]), ["ann", "bob"]),
        (np.array([b"ann", b"bob"]), ["ann", "bob"]),
    ],
)
def test_labels_are_integers_or_strings(tmp_path: Path, array: npt.NDArray[Any], expected: list[Any]) -> None:
    assert read_labels(saved(tmp_path / "l.npy", array), LAYOUT) == expected


@pytest.mark.parametrize("array", [[0.0, 1.0], [[1], [2]], [True, False], 1])
def test_other_labels_are_refused(tmp_path: Path, array: npt.ArrayLike) -> None:
    save_file({"labels": torch.tensor(np.asarray(array))}, tmp_path / "l.safetensors")
    for source in (saved(tmp_path / "l.npy", array), str(tmp_path / "l.safetensors")):
        with pytest.raises(click.ClickException, match="one array of integers or strings"):
            read_labels(source, LAYOUT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["x.npy", "x.safetensors", "x.csv", "X.CSV"])
def test_what_was_written_is_read_again_exactly(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    rows = torch.randn(4, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    write_arrays(tmp_path / name, {"x": rows})
    again = read_rows(str(tmp_path / name), ("x",), LAYOUT).values
    assert torch.equal(again.to(dtype), rows)


def test_several_arrays_take_a_file_with_names(tmp_path: Path) -> None:
    rows = torch.tensor(ROWS)
    with pytest.raises(click.ClickException, match=r"a and b go into a \.safetensors file"):
        write_arrays(tmp_path / "x.npy", {"a": rows, "b": rows})


def test_an_output_is_checked_before_the_work(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.npy", ROWS)
    (tmp_path / "same.npy").symlink_to(source)
    check_output(None, (".npy",), [source])
    check_output(tmp_path / "y.npy", (".npy",), [source, None])
    for path, words in (
        (tmp_path / "y.txt", r"must end in \.npy or \.csv"),
        (tmp_path / "nowhere" / "y.npy", "there is no folder"),
        (tmp_path / "same.npy", "is read by this command"),
    ):
        with pytest.raises(click.ClickException, match=words):
            check_output(path, (".npy", ".csv"), [None, source])
