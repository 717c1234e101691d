"""Values that several commands take, read from what was typed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

import click

__all__ = [
    "MATRIX_METRICS",
    "ROW_METRICS",
    "Command",
    "check_new",
    "end",
    "held_out",
    "layout_options",
    "margin",
    "number",
    "numbers",
    "replace_option",
    "size",
]

Command = Callable[..., Any]

# As models.distances has them, without the torch that comes with it; a test compares the two.
ROW_METRICS = (
    "euclidean",
    "squared_euclidean",
    "cosine",
    "manhattan",
    "chebyshev",
    "minkowski",
    "hamming",
    "kl_divergence",
    "cross_entropy",
)
MATRIX_METRICS = ("frobenius", "nuclear")


replace_option = click.option("--replace", is_flag=True, help="Replace what is there already.")


def check_new(out: Path, *, replace: bool) -> None:
    """Refuse a folder that holds something, before the work rather than after it."""
    from models.bundle import check_destination, refuse_bundle  # noqa: PLC0415 - as in serve

    check_destination(out)
    if not replace:
        refuse_bundle(out, "--replace")


def end(sentence: str, *, by: int | None) -> NoReturn:
    """End a command that was stopped: with 128 and the signal's number, as shells have it, or with 1."""
    click.echo(f"Error: {sentence}", err=True)
    raise click.exceptions.Exit(1 if by is None else 128 + by)


def layout_options(command: Command) -> Command:
    """Add the options that say what a .csv file cannot say itself."""
    options = (
        click.option(
            "--header/--no-header",
            default=None,
            help="Whether the first line of a .csv file names its columns.  [default: found out]",
        ),
        click.option(
            "--label-column",
            metavar="NAME|N",
            help="The .csv column of the labels: its name, or its number from 1.  "
            "[default: the one named label, labels or identity]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def margin(text: str) -> float | Literal["soft"]:
    """Read a margin: a number, or soft."""
    return "soft" if text == "soft" else number("--margin", text)


def held_out(text: str | None) -> float | tuple[str, ...] | None:
    """Read a share of the identities, or the names of groups with commas between."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return tuple(name.strip() for name in text.split(","))


def size(text: str | None) -> tuple[int, int] | None:
    """Read HEIGHTxWIDTH."""
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    # A digit may be one that int() does not read, such as a superscript; a decimal never is.
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise click.BadParameter("give it as HEIGHTxWIDTH, such as 256x128", param_hint="--size")
    return int(height), int(width)


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Read one number, or several with commas between."""
    return None if text is None else tuple(number(option, part) for part in text.split(","))


def number(option: str, text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no number", param_hint=option) from error
