"""What passes filters, read from the record."""
# ruff: noqa: S608 - the SQL is made of this package's own column names, and of values only as parameters

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from service.gallery.filter_sql import Column, filter_sql
from service.gallery.filters import AllOf, Compare, Filter, OneOf
from service.gallery.label_reads import Labels, json_list, labels_in, labels_of, rows_up_to
from service.gallery.sqlite import Database

__all__ = ["FilterReads", "Passed"]


class Passed(NamedTuple):
    """The labels that pass a filter, in no order, and how many rows were asked about."""

    labels: Labels
    rows: int


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

    def passing_among(self, condition: Filter, labels: Labels) -> Passed:
        """Return what passes of the rows of some labels."""
        sql, parameters = filter_sql(condition, self._columns)
        with self._database.reading(once=True) as connection:
            text, rows = connection.execute(
                f"SELECT json_group_array(label) FILTER (WHERE {sql}), count(*) FROM items NOT INDEXED "
                "WHERE label IN (SELECT value FROM json_each(?))",
                [*parameters, json_list(labels.tolist())],
            ).fetchone()
        return Passed(labels_in(text), rows)

    def has_indexes(self, fields: Iterable[str]) -> bool:
        """Return whether each of the fields has an index."""
        return all(field in self._columns for field in fields)

    def passes_at_most(self, condition: Filter, most: int) -> bool:
        """Return whether the values of one field that it asks for are those of at most so many rows.

        It takes as long as counting these; so the answer is False where an index would not help.
        """
        parts = condition.parts if isinstance(condition, AllOf) else (condition,)
        sought = [part.field for part in parts if isinstance(part, OneOf | Compare)]
        if len(sought) < len(parts) or len(set(sought)) > 1 or not self.has_indexes(sought):
            return False
        sql, parameters = filter_sql(condition, self._columns)
        some = f"(SELECT 1 FROM items WHERE {sql} LIMIT ?)"
        with self._database.reading(once=True) as connection:
            (rows,) = connection.execute(f"SELECT count(*) FROM {some}", [*parameters, most + 1]).fetchone()
        return bool(rows <= most)
