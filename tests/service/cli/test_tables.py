"""What .csv files may look like, and what is said about those that cannot be read."""

from pathlib import Path

import click
import numpy as np
import pytest

from service.cli.tables import Layout, read_label_column, read_table

NUMBERS = [[0.5, 1.0], [-2.0, 3e-4]]
LAYOUT = Layout()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


@pytest.mark.parametrize(
    "text",
    [
        "0.5,1\n-2,3e-4\n",
        "0.5,1\r\n-2,3e-4",
        "\ufeffwidth,height\n0.5,1\n-2,3e-4\n",
        "\nwidth, height\n\n 0.5 , 1 \n-2,3e-4\n\n",
        '"width","height"\n"0.5","1"\n"-2","3e-4"\n',
    ],
)
def test_rows_are_read_with_names_or_without(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")
    rows, labels = read_table(path, LAYOUT)
    np.testing.assert_array_equal(rows, NUMBERS)
    assert rows.dtype == np.float64
    assert labels is None


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("label,0,1\nann,0.5,1\n007,-2,3e-4\n", LAYOUT),
        ("a,b,Identity\n0.5,1,ann\n-2,3e-4,007\n", LAYOUT),
        ("a,who,b\n0.5,ann,1\n-2,007,3e-4\n", Layout(label_column="who")),
        ("a,who,b\n0.5,ann,1\n-2,007,3e-4\n", Layout(label_column="2")),
        ("0.5,ann,1\n-2,007,3e-4\n", Layout(label_column="2")),
        ("1,0,who\n0.5,1,ann\n-2,3e-4,007\n", Layout(label_column="who")),
        ("ann,0.5,1\n007,-2,3e-4\n", Layout(header=False, label_column="1")),
    ],
)
def test_a_column_of_labels_stands_beside_the_numbers(path: Path, text: str, layout: Layout) -> None:
    path.write_text(text)
    rows, labels = read_table(path, layout)
    np.testing.assert_array_equal(rows, NUMBERS)
    assert labels == ["ann", "007"]


def test_every_digit_is_kept(path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(50, 3)) * 10.0 ** np.arange(-8, 8, 6)
    path.write_text("\n".join(",".join(map(repr, row)) for row in numbers.tolist()))
    np.testing.assert_array_equal(read_table(path, LAYOUT).rows, numbers)


def test_names_that_pandas_gives_are_not_taken_for_numbers(path: Path) -> None:
    path.write_text("0,1,2\n4,5,6\n")
    with pytest.raises(click.ClickException, match=r"--header if they are names, --no-header if not"):
        read_table(path, LAYOUT)
    assert read_table(path, Layout(header=True)).rows.tolist() == [[4, 5, 6]]
    assert read_table(path, Layout(header=False)).rows.tolist() == [[0, 1, 2], [4, 5, 6]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("\n  \n", "the file is empty"),
        ("width,height\n", "no row below it"),
        ("1,2\n3\n", "line 2 has 1 cells where line 1 has 2"),
        ("a,b\n\n1,2\n3,4,5\n", "line 4 has 3 cells where line 1 has 2"),
        ("1,2\n3,n/a\n", "line 2: 'n/a' is no number"),
        ("1,n/a\n3,4\n", "line 1: 'n/a' is no number"),  # and not a line of names, which would lose the 1
        ("ann,0.5\nbob,1\n", "line 1: 'ann' is no number. If it is a label, name its column"),
        ("1,2\n3,\n", "line 2: number 2 of the row is missing"),
        ("1,2\n3,nan\n", "line 2: number 2 of the row is nan; numbers must be finite"),
        ("1,2\n-inf,3\n", "line 2: number 1 of the row is -inf"),
        ("1,2\n1e999,3\n", "line 2: number 1 of the row is 1e999"),
        ("1,2\n1_0,3\n", "line 2: '1_0' is no number"),
        ("1;2\n3;4\n", "line 1: '1;2' is no number; put commas between numbers"),
        ("1 2\n3 4\n", "put commas between numbers"),
        (",a,b\n0,1,2\n", "write with index=False"),
        ("label\nann\n", "labels and no numbers"),
        ("label,x\nann,1\n,2\n", "line 3 has no label"),
        ('1,"2\n', "cannot be read as a table"),
    ],
)
def test_what_is_no_table_of_numbers_is_named_by_its_line(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(click.ClickException) as raised:
        read_table(path, LAYOUT)
    assert raised.value.message.startswith(str(path))
    assert words in raised.value.message


def test_a_file_that_is_no_text_is_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00,1\n")
    with pytest.raises(click.ClickException, match="cannot be read as a table in UTF-8"):
        read_table(path, LAYOUT)


@pytest.mark.parametrize("wanted", ["who", "0", "3", "-1", "\u00b2"])
def test_a_column_that_is_not_there_is_refused(path: Path, wanted: str) -> None:
    path.write_text("a,b\n1,2\n")
    with pytest.raises(click.ClickException, match=r"there is no column .*; its first line is 'a', 'b'\."):
        read_table(path, Layout(label_column=wanted))


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("ann\nbob\n", LAYOUT),
        ("label\nann\nbob\n", LAYOUT),
        ("who\nann\nbob\n", Layout(header=True)),
        ("who\nann\nbob\n", Layout(label_column="who")),
        ("path,identity,camera\n1.jpg,ann,c1\n2.jpg,bob,\n", LAYOUT),
        ("path,identity,camera\n1.jpg,ann,c1\n2.jpg,bob,\n", Layout(label_column="2")),
        ("1.jpg,ann\n2.jpg,bob\n", Layout(label_column="2")),
    ],
)
def test_labels_are_read_from_a_file_of_their_own(path: Path, text: str, layout: Layout) -> None:
    path.write_text(text)
    assert read_label_column(path, layout) == ["ann", "bob"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("label\n", "no label below it"),
        ("1.jpg,ann\n2.jpg,bob\n", "say which column holds the labels with --label-column"),
        ("path,label\n1.jpg,\n", "line 2 has no label"),
        ("path,label\n1.jpg\n", "line 2 has 1 cells where line 1 has 2"),
    ],
)
def test_what_is_no_column_of_labels_is_refused(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(click.ClickException) as raised:
        read_label_column(path, LAYOUT)
    assert words in raised.value.message
