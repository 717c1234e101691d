"""Batches in flight: order, splitting, refusals, and files that cannot be read."""

from contextlib import closing
from pathlib import Path

import click
import numpy as np
import pytest

from service.cli.moving.course import Course
from service.cli.moving.journal import Journal, Target
from service.cli.moving.rest import Server
from service.cli.moving.rows import Limits, Row
from service.cli.moving.uploading import Report, Sender, upload
from tests.service.cli.moving.conftest import Receiver

VECTOR = np.ones(2, dtype=np.float32)


def send(url: str, rows: list[Row], folder: Path, *, items: int = 2, at_once: int = 1) -> Report:
    report = Report(folder / "report.csv")
    server = Server(url, patience_s=0, connections=at_once)
    with closing(server), Journal(folder / "journal", Target(url, "there")) as journal:
        upload(
            rows,
            Sender(server, "/items"),
            limits=Limits(items, 2**20),
            at_once=at_once,
            journal=journal,
            report=report,
            course=Course("import", len(rows)),
        )
    return report


def vectors(*names: str) -> list[Row]:
    return [Row(name, None, {"n": at}, VECTOR, f"row {at}") for at, name in enumerate(names)]


def test_one_request_after_another_keeps_the_order(url: str, receiver: Receiver, tmp_path: Path) -> None:
    names = [f"i{n}" for n in range(21)]
    assert send(url, vectors(*names), tmp_path).count == 0
    assert [one for ids in receiver.requests for one in ids] == names
    assert max(map(len, receiver.requests)) == 2


def test_of_an_id_that_comes_twice_the_later_is_sent_after_the_earlier_was_answered(
    url: str, receiver: Receiver, tmp_path: Path
) -> None:
    send(url, vectors(*["a", "b"] * 20), tmp_path, items=1, at_once=4)
    assert [n for name, n in receiver.numbers if name == "a"] == list(range(0, 40, 2))
    assert [n for name, n in receiver.numbers if name == "b"] == list(range(1, 40, 2))


@pytest.mark.parametrize("bad", ["large", "broken"])
def test_a_row_that_no_request_can_have_is_rejected_alone(
    url: str, receiver: Receiver, tmp_path: Path, bad: str
) -> None:
    report = send(url, vectors("a", "b", bad, "c", "d", "e"), tmp_path, items=6)
    assert sorted(one for ids in receiver.requests for one in ids) == ["a", "b", "c", "d", "e"]
    assert (report.count, report.first.startswith("row 2: It is")) == (1, True)


def test_files_that_cannot_be_read_are_rejected_alone(url: str, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "there.jpg").write_bytes(b"picture")
    names = ("there.jpg", "absent.jpg", "", "nul\0.jpg")
    report = send(
        url, [Row(name or "folder", None, {}, tmp_path / name, name) for name in names], tmp_path, items=4
    )
    assert receiver.requests == [["there.jpg"]]
    assert report.count == 3
    assert "No such file" in (tmp_path / "report.csv").read_text()


def test_a_refusal_ends_the_import_and_the_journal_has_what_was_answered_before(
    url: str, receiver: Receiver, tmp_path: Path
) -> None:
    rows = vectors("a", "b", "c", "refused", "d", "e")
    with pytest.raises(click.ClickException, match="Not into this collection"):
        send(url, rows, tmp_path)
    done = [one for ids in receiver.requests for one in ids]
    assert done[:2] == ["a", "b"]
    receiver.requests.clear()
    rows[3] = Row("allowed", None, {}, VECTOR, "row 3")
    send(url, rows, tmp_path)
    again = [one for ids in receiver.requests for one in ids]
    assert sorted(done + again) == ["a", "allowed", "b", "c", "d", "e"]
