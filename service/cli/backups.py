"""`lookalike backup` and `restore`: a data directory copied while it is written to, and put back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from service.gallery.backups import Step

__all__ = ["backup", "restore_backup"]

_COLLECTIONS = click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="NAME",
    help="Only this one; repeatable.  [default: all]",
)


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
@_COLLECTIONS
def backup(data_dir: Path, out: Path, collections: tuple[str, ...]) -> None:
    """Copy the collections of DATA_DIR into the new folder OUT, while a server uses them or not.

    Each collection is as it was at one moment. Run it where the data directory is: in the server's container,
    say. Items that are damaged are copied too and named, and it ends with 1. A collection that cannot be read
    ends it: name the others with --collection.
    """
    from service.gallery.backup_manifest import damage_told, read_manifest  # noqa: PLC0415 - as in serve
    from service.gallery.backups import Copying, back_up, collections_in  # noqa: PLC0415 - as in serve
    from service.gallery.names import chosen  # noqa: PLC0415 - as in serve

    names = chosen(collections, collections_in(data_dir), f"collection in {data_dir} that is called")
    kept = back_up(data_dir, out, Copying(_told), names=names)
    wrote = f"Wrote {out}: {_summary(kept.collections, kept.items, kept.bytes)}."
    if damaged := damage_told(read_manifest(out).contents):
        raise click.ClickException(f"{damaged} {wrote}")
    click.echo(wrote)


@click.command(name="restore")
@click.argument(
    "backup_folder", metavar="BACKUP", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.argument("data_dir", type=click.Path(path_type=Path))
@_COLLECTIONS
def restore_backup(backup_folder: Path, data_dir: Path, collections: tuple[str, ...]) -> None:
    """Put the collections of BACKUP into DATA_DIR, which must have none; its hashes are checked before."""
    from service.gallery.backups import Copying, restore  # noqa: PLC0415 - as in serve

    kept = restore(backup_folder, data_dir, Copying(_told), names=collections)
    click.echo(f"Restored into {data_dir}: {_summary(kept.collections, kept.items, kept.bytes)}.")


def _told(step: "Step") -> None:
    click.echo(f"{step.name} ({step.number} of {step.count})", err=True)


def _summary(collections: int, items: int, size: int) -> str:
    return f"{collections:,} collections, {items:,} items, {size / 2**20:,.1f} MiB"
