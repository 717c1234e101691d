"""What an import says of what it did."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from service.cli import main
from tests.service.cli.moving.conftest import Receiver


def run(url: str, source: Path, *more: str) -> Result:
    result = CliRunner().invoke(main, ["import", str(source), "there", "--url", url, *more])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_ids_that_come_twice_in_a_source_are_named_and_counted_once(
    url: str, receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    table = tmp_path / "t.csv"
    table.write_text("path,id\na.jpg,x\na.jpg,x\na.jpg,\na.jpg,y\na.jpg,\na.jpg,x\n")
    result = run(url, table)
    assert result.exit_code == 0
    assert "3 of 6 rows have an id that an earlier one has, and the last of each counts" in result.stderr
    assert "'a.jpg'" in result.stderr
    assert "'x'" in result.stderr
    assert "'y'" not in result.stderr
    assert result.stdout == "'there' has all 3 items.\n"
    assert receiver.described()["items"] == 3


def test_what_an_earlier_run_sent_is_no_repetition(url: str, receiver: Receiver, tmp_path: Path) -> None:
    vectors = np.ones((6, 2), dtype=np.float32)
    source = tmp_path / "v.npz"
    np.savez(source, vectors=vectors, ids=["a", "b", "c", "b", "refused", "d"])
    ended = run(url, source, "--batch-items", "2")
    assert (ended.exit_code, "the same command goes on" in ended.output) == (1, True)
    np.savez(source, vectors=vectors, ids=["a", "b", "c", "b", "e", "d"])
    before = len(receiver.requests)
    result = run(url, source, "--batch-items", "2")
    assert [one for ids in receiver.requests[before:] for one in ids] == ["e", "d"]
    assert (
        "1 of 6 rows have an id that an earlier one has, and the last of each counts: 'b'." in result.stderr
    )
    assert result.stdout == "'there' has all 5 items.\n"


def test_a_source_without_repetitions_is_told_of_in_one_line(url: str, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 2), dtype=np.float32))
    assert run(url, tmp_path / "v.npy").output == "'there' has all 3 items.\n"
