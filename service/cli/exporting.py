"""`lookalike export`: a collection of a running server into files."""

import contextlib
import signal
from pathlib import Path
from typing import Any

import click

from service.cli.importing import server_options
from service.cli.options import end, replace_option

__all__ = ["export_items"]


@click.command(name="export")
@click.argument("collection")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@server_options
@replace_option
def export_items(collection: str, out: Path, replace: bool, **given: Any) -> None:
    """Write COLLECTION of a running server to OUT, which `lookalike import` reads.

    OUT.safetensors has the vectors as the tensor `vector`, and OUT.jsonl beside it a line for each item;
    OUT.parquet (with the extra `parquet`) has both. The files are there when all of it is written.
    """
    from service.cli.moving.exporting import SUFFIXES, export_collection, files_of  # noqa: PLC0415 - as in serve
    from service.cli.moving.rest import Server  # noqa: PLC0415 - as in serve

    if out.suffix.lower() not in SUFFIXES:
        raise click.ClickException(f"{out}: the file to write must end in {' or '.join(SUFFIXES)}.")
    if not out.parent.is_dir():
        raise click.ClickException(f"{out}: there is no folder {out.parent}. Make it first.")
    if out.suffix.lower() == ".parquet":
        from service.cli.moving.parquet import require  # noqa: PLC0415 - an extra

        require()
    there = [path for path in files_of(out) if path.exists()]
    if there and not replace:
        raise click.ClickException(
            f"{there[0]} is there already. Name another file, or replace it by --replace."
        )
    with contextlib.closing(Server(given["url"], patience_s=given["patience_s"], connections=1)) as server:
        try:
            click.echo(export_collection(server, collection, out))
        except KeyboardInterrupt:
            end(f"Stopped. Nothing was written to {out}.", by=signal.SIGINT)
