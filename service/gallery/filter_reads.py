"""What passes filters, and the values of declared fields, read from the record."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from service.gallery.filter_sql import Column, filter_sql
from service.gallery.filters import Filter
from service.gallery.label_reads import Labels, Valued, labels_of, rows_up_to, valued
from service.gallery.sqlite import Database

__all__ = ["FilterReads", "NewValues", "Passed"]


class Passed(NamedTuple):
    """The labels that pass a filter, in no order, and how many rows were asked about."""

    labels: Labels
    rows: int


class NewValues(NamedTuple):
    """The labels of some rows, ascending, and of each field a value for each."""

    labels: Labels
    values: list[list[Any]]


class FilterReads:
    """Asks the items of a record. A filter that compares a field with another type is a FilterError."""

    def __init__(
        self, database: Database, columns: Mapping[str, Column], left_out: Callable[[], Collection[int]]
    ) -> None:
        """Ask a database.

        Args:
            database: to be asked.
            columns: the fields that have one, and an index.
            left_out: gives the labels of the rows that pass nothing, as if they were not there.
        """
        self._database, self._columns, self._left_out = database, columns, left_out

    def passing(self, condition: Filter, *, up_to: int, after: int = 0) -> Passed:
        """Return what passes of the rows above one label and up to another.

        Args:
            condition: the filter.
            up_to: the highest label to ask about.
            after: 0 for all; above 0, few rows should follow it.
        """
        sql, parameters = filter_sql(condition, self._columns)
        with self._database.reading() as connection:
            if after:  # by the labels, whatever the fields' indexes promise
                within = "items NOT INDEXED WHERE label > ? AND label <= ?"
                labels = labels_of(connection, f"{within} AND {sql}", [after, up_to, *parameters])
                (rows,) = connection.execute(f"SELECT count(*) FROM {within}", [after, up_to]).fetchone()
            else:
                labels = labels_of(connection, f"items WHERE {sql}", parameters)
                labels, rows = labels[labels <= up_to], rows_up_to(connection, up_to)
        if left_out := [label for label in self._left_out() if after < label <= up_to]:
            labels, rows = labels[~np.isin(labels, left_out)], rows - len(left_out)
        return Passed(labels, rows)

    def values(self, field: str, *, up_to: int, most_word_bytes: int) -> Valued | None:
        """Return the values of a declared field; see `valued`."""
        column = self._columns[field].name
        with self._database.reading() as connection:
            found = valued(connection, column, up_to=up_to, most_word_bytes=most_word_bytes)
        if found is None or not (left_out := [*self._left_out()]):
            return found
        kept = ~np.isin(found.labels, left_out)
        return Valued(found.labels[kept], found.values, found.places[kept])

    def values_after(self, fields: Iterable[str], *, after: int, up_to: int) -> NewValues:
        """Return the values of some declared fields of the rows above one label and up to another."""
        names = [self._columns[field].name for field in fields]
        with self._database.reading(once=True) as connection:
            rows = connection.execute(
                f"SELECT {', '.join(['label', *names])} FROM items NOT INDEXED "
                "WHERE label > ? AND label <= ? ORDER BY label",
                [after, up_to],
            ).fetchall()
        left_out = self._left_out()
        rows = [row for row in rows if row[0] not in left_out]
        labels = np.array([row[0] for row in rows], np.int64)
        return NewValues(labels, [[row[i] for row in rows] for i in range(1, len(names) + 1)])

    def has_indexes(self, fields: Iterable[str]) -> bool:
        """Return whether each of the fields has an index."""
        return all(field in self._columns for field in fields)
