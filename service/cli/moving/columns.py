"""Which column of a table is what to an item."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

__all__ = ["by_role"]

_NAMED = 8


def by_role(names: Sequence[str], columns: Mapping[str, str], path: Path) -> dict[str, int]:
    """Return the numbers of the columns by what they are to an item, and of the rest by their names.

    Args:
        names: of the columns, in order.
        columns: what `id`, `identity`, `path`, `vector` and `metadata` are called, if otherwise.
        path: of the table.

    Raises:
        ClickException: there is no such column, or two are the same to an item.
    """
    missing = [name for name in columns.values() if name not in names]
    if missing:
        raise click.ClickException(
            f"{path} has the columns {', '.join(names[:_NAMED])}, and none is called {missing[0]}."
        )
    roles = {name: role for role, name in columns.items()}
    found = {roles.get(name, name): at for at, name in enumerate(names)}
    if len(roles) < len(columns) or len(found) < len(names):
        raise click.ClickException(f"{path}: two columns have the same name. Each needs its own.")
    return found
