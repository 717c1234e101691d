"""`lookalike import`: a folder of pictures, a table or vectors into a collection of a running server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from service.cli.options import Command

__all__ = ["ROLES", "import_items", "server_options"]

ROLES = ("id", "identity", "path", "vector", "metadata")

_FILE = click.Path(path_type=Path, dir_okay=False)
_AT_LEAST_1 = click.IntRange(min=1)


def server_options(command: Command) -> Command:
    """Add the options that say where the server is, and how long to wait for it."""
    options = (
        click.option(
            "--url", default="http://127.0.0.1:8000", show_default=True, help="Where the server listens."
        ),
        click.option(
            "--patience-s",
            type=click.FloatRange(min=0),
            default=120,
            show_default=True,
            help="Seconds that it may be busy or away.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


_COLLECTION = (
    click.option(
        "--metric",
        type=click.Choice(["cosine", "euclidean", "inner_product"]),
        help="Of the collection, where it is made.  [default: the encoder's; euclidean for vectors]",
    ),
    click.option("--encoder", help="Of its pictures.  [default: the server's; none for vectors]"),
    click.option(
        "--keep-images/--no-keep-images",
        default=None,
        help="Whether it keeps a small picture of each item.  [default: no]",
    ),
    click.option(
        "--field", "fields", multiple=True, metavar="NAME=TYPE", help="A declared field; repeatable."
    ),
)
_SOURCE = (
    click.option("--labels", metavar="FILE", help="The identities of an array's rows: .npy or .csv."),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="ROLE=NAME",
        help=f"Which column of a table is {', '.join(ROLES)}, if it is not called so; repeatable.",
    ),
    click.option("--id-prefix", default="", help="Before ids that are made of paths or numbers of rows."),
)
_SENDING = (
    click.option(
        "--batch-items", type=_AT_LEAST_1, help="Most items a request.  [default: 500; pictures 64]"
    ),
    click.option(
        "--batch-bytes", type=_AT_LEAST_1, default=16 * 2**20, show_default=True, help="Most bytes of one."
    ),
    click.option(
        "--at-once",
        type=_AT_LEAST_1,
        help="Requests under way at once.  [default: pictures 4; vectors 1, which keeps their order]",
    ),
    click.option(
        "--journal", type=_FILE, help="Remembers what is written.  [default: SOURCE.COLLECTION.journal]"
    ),
    click.option(
        "--report", type=_FILE, help="Names what is rejected.  [default: SOURCE.COLLECTION.rejected.csv]"
    ),
)


def _import_options(command: Command) -> Command:
    """Add the options that say what the collection is, how the source is read, and how it is sent."""
    for option in reversed((*_COLLECTION, *_SOURCE, *_SENDING)):
        command = option(command)
    return command


@click.command(name="import")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("collection")
@server_options
@_import_options
def import_items(source: Path, collection: str, **given: Any) -> None:
    """Write what SOURCE holds into COLLECTION of a running server, which is made where it is missing.

    SOURCE is a folder of pictures, in which a folder's name is the identity of what is in it; a .csv table
    with a column `path`; a .parquet table with `path` or `vector`; vectors as .npy, .npz or .safetensors; or
    what `lookalike export` wrote.

    Ids come from the source (the path, the number of the row, or the column `id`), so that to import again
    changes nothing. Ctrl-C, or a kill, loses nothing: the same command goes on where it ended.
    """
    from service.cli.moving.importing import ImportOptions, import_source  # noqa: PLC0415 - as in serve
    from service.cli.moving.sources import open_source  # noqa: PLC0415 - as in serve

    columns = _pairs("--column", given.pop("columns"))
    if unknown := columns.keys() - set(ROLES):
        raise click.BadParameter(f"{min(unknown)!r} is none of {', '.join(ROLES)}", param_hint="--column")
    wanted = {name: given.pop(name) for name in ("metric", "encoder", "keep_images")}
    fields = _pairs("--field", given.pop("fields"))
    asked = {name: value for name, value in {**wanted, "fields": fields or None}.items() if value is not None}
    opened = open_source(source, labels=given.pop("labels"), columns=columns, prefix=given.pop("id_prefix"))
    beside = f"{source.resolve() if source.name in ('', '..') else source}.{collection}"
    given["journal"] = given["journal"] or Path(f"{beside}.journal")
    given["report"] = given["report"] or Path(f"{beside}.rejected.csv")
    click.echo(import_source(opened, ImportOptions(collection=collection, wanted=asked, **given)))


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE, several times."""
    pairs = dict(one.partition("=")[::2] for one in given)
    for name, value in pairs.items():
        if not name or not value:
            raise click.BadParameter(f"{name or value!r}: give two names with = between", param_hint=option)
    return pairs
