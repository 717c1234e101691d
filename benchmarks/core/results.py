"""What has been measured so far, a line of JSON each: a run that was interrupted goes on from there."""

import json
from pathlib import Path
from typing import Any

from benchmarks.core.cases import Case

__all__ = ["Results"]

Record = dict[str, Any]


class Results:
    """The records of one run, kept in a file.

    A record has a `job` and, as far as it is about one, a `case` (its key) and a `peer`.

    Args:
        path: the file; made with the first record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[tuple[str, str, str], Record] = {}
        for record in _read(path):
            self._records[_identity(record)] = record

    def __len__(self) -> int:
        return len(self._records)

    def get(self, job: str, case: Case | None = None, peer: str = "") -> Record | None:
        """Return the record of a job, or None where it has not been done."""
        return self._records.get((job, case.key if case else "", peer))

    def add(self, job: str, case: Case | None = None, peer: str = "", **values: Any) -> Record:
        """Keep a record, on the disk too before this returns."""
        record = {"job": job, "case": case.key if case else "", "peer": peer, **values}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._records[_identity(record)] = record
        return record

    def forget(self) -> None:
        """Start anew."""
        self._path.unlink(missing_ok=True)
        self._records.clear()


def _identity(record: Record) -> tuple[str, str, str]:
    return record["job"], record["case"], record["peer"]


def _read(path: Path) -> list[Record]:
    """Return the whole lines of a file, and leave it with those only: the last may have been cut off."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]
