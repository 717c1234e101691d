"""What numeric commands print: facts and rows for people, JSON for programs."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

__all__ = ["Facts", "as_json", "show_facts", "show_json", "show_table", "wrote"]


Facts = list[tuple[str, str]]


def show_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names with their values: on a terminal broken into its lines, elsewhere one line for each."""
    if sys.stdout.isatty():
        _print_grid(facts)
        return
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {value}")


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns, whole: a table that fits a narrow terminal would cut numbers off."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))


def show_json(answer: Mapping[str, Any]) -> None:
    """Print one line of JSON."""
    click.echo(as_json(answer))


def as_json(answer: Mapping[str, Any]) -> bytes:
    """Return an answer, arrays included, as JSON."""
    import orjson  # noqa: PLC0415 - with numpy, as in serve

    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def wrote(path: object, what: str, *, replaced: bool = False) -> None:
    """Say what was written, where it does not get into the answer, and whether something was there before."""
    click.echo(f"Wrote {what} to {path}{', in place of an earlier file' if replaced else ''}.", err=True)


def _print_grid(rows: Sequence[tuple[str, str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - as in serve
    from rich.table import Table  # noqa: PLC0415 - as in serve
    from rich.text import Text  # noqa: PLC0415 - as in serve

    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, value in rows:
        grid.add_row(Text(name, style="bold"), Text(value))  # Text: a value may look like markup
    Console().print(grid)
