"""An import from its beginning to its end: the collection made, the rows sent, what was done said."""

import contextlib
import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote, urlsplit

import click

from models.errors import InterruptedWorkError
from service.cli.moving.course import Course
from service.cli.moving.journal import Journal, Target
from service.cli.moving.repeats import Repeats
from service.cli.moving.rest import Answer, Server
from service.cli.moving.rows import Limits
from service.cli.moving.sources import Source
from service.cli.moving.uploading import Report, Sender, upload

__all__ = ["ImportOptions", "import_source"]

_NOT_FOUND, _CREATED = 404, 201
_VECTORS_AT_ONCE, _PICTURES_AT_ONCE = 1, 4
_VECTORS_A_BATCH, _PICTURES_A_BATCH = 500, 64


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to import.

    Attributes:
        collection: its name.
        url, patience_s: see `Server`.
        wanted: what the collection must be, or is made as; the rest is the export's, or the server's.
        batch_items, batch_bytes: of a request at most; None for what suits the source.
        at_once: requests under way; None likewise.
        journal, report: files.
    """

    collection: str
    url: str
    patience_s: float = 120
    wanted: Mapping[str, Any] = field(default_factory=dict)
    batch_items: int | None = None
    batch_bytes: int = 16 * 2**20
    at_once: int | None = None
    journal: Path
    report: Path


def import_source(source: Source, options: ImportOptions) -> str:
    """Write what the source holds into the collection, and return a sentence of what was done.

    Raises:
        ClickException: the server refuses, or rows were rejected, which the report names.
        InterruptedWorkError: Ctrl-C or SIGTERM; the same import goes on where it ended.
    """
    pictures = source.dimension is None
    at_once = options.at_once or (_PICTURES_AT_ONCE if pictures else _VECTORS_AT_ONCE)
    items = options.batch_items or (_PICTURES_A_BATCH if pictures else _VECTORS_A_BATCH)
    server = Server(options.url, patience_s=options.patience_s, connections=at_once)
    report = Report(options.report)
    target = Target(_shown(server.url), options.collection)
    with contextlib.closing(server), Journal(options.journal, target) as journal:
        place = f"/v1/collections/{quote(options.collection, safe='')}"
        described, made = _collection(server, place, source, options.wanted)
        if made or described["items"] < len(journal):
            if len(journal):
                click.echo("The collection has fewer items than were written: all are sent again.", err=True)
            journal.forget()
        course, repeats = Course("import", source.total), Repeats()
        with course, _told(course, report):
            upload(
                repeats.watch(source.rows(described["fields"])),
                Sender(server, f"{place}/items"),
                limits=Limits(items, options.batch_bytes),
                at_once=at_once,
                journal=journal,
                report=report,
                course=course,
            )
        if not report.count:
            journal.forget()  # the next import begins anew
    repeated = repeats.count()
    if repeated:
        names = ", ".join(map(repr, repeats.names(source.rows(described["fields"]))))
        click.echo(
            f"{repeated:,} of {course.done:,} rows have an id that an earlier one has, and the last of each "
            f"counts: {names}.",
            err=True,
        )
    if report.count:
        others = "the others are written" if report.count < course.done else "none is written"
        raise click.ClickException(
            f"{report.count:,} of {course.done:,} items were rejected, {others}. {report.path} "
            f"has each and why; the first is {report.first}"
        )
    return f"{options.collection!r} has all {course.done - repeated:,} items."


def _shown(url: str) -> str:
    """Return a URL without the name and password that it may have, which no journal is to keep."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _collection(
    server: Server, place: str, source: Source, wanted: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """Return how the collection is described, made where it is missing, and whether it was.

    Raises:
        ClickException: it cannot be made, or is there otherwise configured than is wanted.
    """
    found = server.ask("GET", place)
    if found.status != _NOT_FOUND:
        described = _known(found)
        differences = [
            f"{name} is {described.get(name)!r}, not {value!r}"
            for name, value in wanted.items()
            if described.get(name) != value
        ]
        if differences:
            raise click.ClickException(
                f"The collection {described['name']!r} exists with another configuration: "
                f"{'; '.join(differences)}. Leave the options out, or use another name."
            )
        return described, False
    config = {**source.config, **wanted}
    if source.dimension is not None and not config.get("encoder"):
        config["dimension"] = source.dimension
    config = {name: value for name, value in config.items() if value not in (None, "")}
    answer = server.ask("PUT", place, json.dumps(config).encode())
    return _known(answer), answer.status == _CREATED


def _known(answer: Answer) -> dict[str, Any]:
    if answer.status not in (200, _CREATED) or "items" not in answer.json():
        raise click.ClickException(answer.sentence())
    return answer.json()


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM, which ends an import as Ctrl-C does."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _TerminatedError


@contextlib.contextmanager
def _told(course: Course, report: Report) -> Iterator[None]:
    """Say how much is written where the block ends early, by a signal or a refusal."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except KeyboardInterrupt as error:
        number = signal.SIGTERM if isinstance(error, _TerminatedError) else signal.SIGINT
        written = course.done - report.count
        raise InterruptedWorkError(
            f"Stopped. {written:,} items are written; the same command goes on from there.", signal=number
        ) from error
    except (click.ClickException, OSError) as error:  # OSError: of the journal or the report
        written = course.done - report.count
        reason = error.message if isinstance(error, click.ClickException) else f"{error.strerror}."
        said = f"{reason} {written:,} items are written; the same command goes on from there."
        raise click.ClickException(said) from error
    finally:
        signal.signal(signal.SIGTERM, before)
