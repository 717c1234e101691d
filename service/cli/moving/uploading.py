"""Rows sent to a collection in batches, some requests at once, and what became of each."""

import base64
import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Self

import click
import numpy as np
from safetensors.numpy import save

from service.cli.moving.course import Course
from service.cli.moving.journal import Journal
from service.cli.moving.rest import JSON, SAFETENSORS, Server
from service.cli.moving.rows import Limits, Row, batches, key_of

__all__ = ["Report", "Sender", "upload"]

_OF_ONE_ROW = (400, 413)  # one row may be why: it is no JSON, or too large
_CHUNK_ROWS = 1000  # whose keys are looked up at once

Outcome = list[tuple[Row, str | None]]  # the reason where a row was rejected


class Report:
    """The rows that were rejected, each with its reason, in a .csv file that is made with the first.

    Attributes:
        count: how many they are.
        first: the first one's sentence.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.count, self.first = path, 0, ""
        self.path.unlink(missing_ok=True)  # of an earlier run, which sent these rows too

    def add(self, row: Row, reason: str) -> None:
        """Note a row."""
        new = self.count == 0
        with self.path.open("w" if new else "a", newline="", encoding="utf-8", errors="replace") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(("where", "id", "reason"))
            writer.writerow((row.where, row.id, reason))
        self.first = self.first or f"{row.where}: {reason}"
        self.count += 1


class Sender:
    """Sends batches of rows to one collection. Thread-safe."""

    def __init__(self, server: Server, items_path: str) -> None:
        self._server, self._path = server, items_path

    def stop(self) -> None:
        """Wait for no server that is busy any longer."""
        self._server.stop()

    def send(self, batch: Sequence[Row]) -> Outcome:
        """Send rows, all durable and searchable on return but those with a reason.

        Raises:
            ClickException: the server refuses the request as such, or is not there any more.
            StoppedError: the command is ending.
        """
        body, media_type, sent, unread = _body(batch)
        if not sent:
            return unread
        answer = self._server.ask("POST", self._path, body, headers={"Content-Type": media_type})
        said = answer.json()
        if isinstance(said.get("items"), list):
            reasons = [
                one.get("reason", "") if one["status"] == "rejected" else None for one in said["items"]
            ]
            return [*zip(sent, reasons, strict=True), *unread]
        if answer.status in _OF_ONE_ROW and len(sent) > 1:
            half = len(sent) // 2
            return [*self.send(sent[:half]), *self.send(sent[half:]), *unread]
        if answer.status in _OF_ONE_ROW:
            return [(sent[0], answer.sentence()), *unread]
        raise click.ClickException(answer.sentence())


class _Requests:
    """Batches in flight, never two with the same id: what comes later in the source stays."""

    def __init__(self, sender: Sender, at_once: int) -> None:
        self._sender, self._most = sender, at_once + 1  # the next is made while these are under way
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="import")
        self._pending: dict[Future[Outcome], set[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, batch: Sequence[Row]) -> Iterator[Outcome]:
        """Send a batch once there is room for it; yield what became of others."""
        ids = {row.id for row in batch}
        while len(self._pending) >= self._most or any(ids & others for others in self._pending.values()):
            yield from self._some()
        self._pending[self._pool.submit(self._sender.send, batch)] = ids

    def rest(self) -> Iterator[Outcome]:
        """Yield what became of all that are still under way."""
        while self._pending:
            yield from self._some()

    def ended(self) -> Iterator[Outcome]:
        """Wait for those under way, send none that waits; yield what became of those that ended well."""
        self._pool.shutdown(cancel_futures=True)
        for future in self._pending:
            if not future.cancelled() and future.exception() is None:
                yield future.result()
        self._pending.clear()

    def _some(self) -> Iterator[Outcome]:
        done, _ = wait(self._pending, return_when=FIRST_COMPLETED)
        for future in done:
            outcome = future.result()  # first, so that one that failed is still there for `ended`
            del self._pending[future]
            yield outcome


def upload(
    rows: Iterable[Row],
    sender: Sender,
    *,
    limits: Limits,
    at_once: int,
    journal: Journal,
    report: Report,
    course: Course,
) -> None:
    """Send the rows that the journal does not have, and note in it what was acknowledged.

    Raises:
        ClickException: a source that is damaged, or a server that refuses; what was acknowledged is noted.
        KeyboardInterrupt: likewise.
    """

    def settle(outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            journal.add(key_of(row) for row, reason in outcome if reason is None)
            for row, reason in outcome:
                if reason is not None:
                    report.add(row, reason)
            course.advance(len(outcome))

    with _Requests(sender, at_once) as requests:
        try:
            for batch in batches(_unsent(rows, journal, course), limits):
                settle(requests.add(batch))
            settle(requests.rest())
        except BaseException:
            sender.stop()
            settle(requests.ended())
            raise


def _unsent(rows: Iterable[Row], journal: Journal, course: Course) -> Iterator[Row]:
    """Yield the rows that were not acknowledged by an earlier run."""
    if not len(journal):
        yield from rows
        return
    for chunk in batches(rows, Limits(_CHUNK_ROWS, 2**40)):
        known = journal.known(map(key_of, chunk))
        course.skip(sum(known))
        yield from (row for row, sent in zip(chunk, known, strict=True) if not sent)


def _body(batch: Sequence[Row]) -> tuple[bytes, str, list[Row], Outcome]:
    """Return a request's body, its media type, the rows in it, and those whose picture cannot be read."""
    items = [{"id": row.id, "identity": row.identity, "metadata": row.metadata} for row in batch]
    lengths = {len(row.content) for row in batch if isinstance(row.content, np.ndarray)}
    if len(lengths) == 1 and 0 not in lengths:
        vectors = np.stack([row.content for row in batch if isinstance(row.content, np.ndarray)])
        return save({"vector": vectors}, {"json": json.dumps({"items": items})}), SAFETENSORS, [*batch], []
    sent: list[Row] = []
    unread: Outcome = []
    listed = []
    for row, item in zip(batch, items, strict=True):
        try:
            listed.append({**item, **_content(row)})
            sent.append(row)
        except (OSError, ValueError) as error:  # ValueError: a path that no file can have
            unread.append((row, f"The file cannot be read: {getattr(error, 'strerror', error)}."))
    return json.dumps({"items": listed}).encode(), JSON, sent, unread


def _content(row: Row) -> dict[str, object]:
    if isinstance(row.content, Path):
        return {"image": base64.b64encode(row.content.read_bytes()).decode()}
    return {"vector": row.content.tolist()}
