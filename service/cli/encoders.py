"""`lookalike encoder`, `train` and `draw`: bundles, and the pictures to make them from."""

import logging
from pathlib import Path
from typing import Any

import click

from service.cli.options import Command, margin, numbers, size

__all__ = ["draw", "encoder", "train"]

_AT_LEAST_1, _AT_LEAST_2 = click.IntRange(min=1), click.IntRange(min=2)
_SEED = click.IntRange(min=0, max=2**63 - 1)


def _bundle_options(command: Command) -> Command:
    """Add the options that say where a bundle goes and what it states about itself."""
    options = (
        click.option(
            "--out", type=click.Path(path_type=Path), required=True, help="The bundle's folder to write."
        ),
        click.option("--name", help="By which the encoder is hosted.  [default: the folder's name]"),
        click.option("--description", default="", help="A sentence for those who will use it."),
        click.option("--intended-use", default="", help="What it is for, and what it is not for."),
        click.option("--licence", default="not stated", help="The terms of its weights."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def encoder() -> None:
    """Make and inspect encoder bundles."""


@encoder.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_bundle_options
@click.option("--size", metavar="HEIGHTxWIDTH", help="Input size, where the graph leaves it open.")
@click.option("--mean", metavar="N[,N,N]", help="Subtracted from the pixels, one for all or one a channel.")
@click.option("--std", metavar="N[,N,N]", help="The pixels are then divided by it.")
@click.option(
    "--pixel-max",
    type=click.Choice(["255", "1"]),
    default="255",
    show_default=True,
    help="1 where mean and std are meant for pixels from 0 to 1.",
)
@click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="The channel order that it expects.")
@click.option(
    "--normalize/--no-normalize", default=None, help="L2-normalise the embeddings, or leave them as they are."
)
@click.option(
    "--metric",
    type=click.Choice(["cosine", "euclidean"]),
    default="cosine",
    show_default=True,
    help="The distance to compare embeddings by.",
)
@click.option(
    "--resize",
    type=click.Choice(["bilinear", "bicubic"]),
    default="bilinear",
    show_default=True,
    help="How pictures are resized.",
)
@click.option("--output", help="The embedding's name, where the graph has several outputs.")
def import_encoder(file: Path, out: Path, **given: Any) -> None:
    """Make a bundle from the plain ONNX encoder FILE.

    What the graph says is read from it; what it does not say is asked for by options, all at once.

    \b
    Faces (ArcFace, MobileFaceNet):  --mean 127.5 --std 128 --channels rgb --normalize
    Persons (OSNet, ImageNet):       --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375
                                     --channels rgb --normalize
    """  # noqa: D301 - click's mark for "keep these lines" is the character itself
    from models.onnx_import import ImportOptions, import_onnx  # noqa: PLC0415 - as in serve

    given["name"] = given["name"] or out.resolve().name
    given["size"] = size(given["size"])
    given["mean"], given["std"] = numbers("--mean", given["mean"]), numbers("--std", given["std"])
    given["pixel_max"] = int(given["pixel_max"])
    report = import_onnx(file, out, ImportOptions(**given))
    for note in report.notes:
        click.echo(note)
    manifest = report.encoder.manifest
    click.echo(f"Wrote {out}: encoder {manifest.name!r}, fingerprint {manifest.fingerprint[:12]}.")
    click.echo(f"Host it with: lookalike serve --encoder {out}")


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder to write to."
)
@click.option("--identities", type=_AT_LEAST_1, default=6, show_default=True, help="How many vehicles.")
@click.option("--views", type=_AT_LEAST_1, default=4, show_default=True, help="How many pictures of each.")
@click.option("--seed", type=_SEED, default=0, show_default=True, help="Other seeds draw other vehicles.")
def draw(out: Path, identities: int, views: int, seed: int) -> None:
    """Draw little vehicles seen under changes of pose, light and noise, to try things with."""
    from models.drawing import draw_dataset  # noqa: PLC0415 - as in serve

    table = draw_dataset(out, identities, views, seed)
    click.echo(f"Drew {identities * views} pictures of {identities} vehicles, listed in {table}.")


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_bundle_options
@click.option("--train-split", default="train", show_default=True, help="The split to learn from.")
@click.option("--val-split", default="val", show_default=True, help="The split to measure on; '' for none.")
@click.option("--mining", type=click.Choice(["all", "hard", "semi_hard"]), default="all", show_default=True)
@click.option("--margin", default="0.2", show_default=True, help="Of the triplet loss: a number, or soft.")
@click.option(
    "--identities", type=_AT_LEAST_2, default=48, show_default=True, help="P, the identities of a batch."
)
@click.option(
    "--images",
    type=_AT_LEAST_2,
    default=2,
    show_default=True,
    help="K, the pictures of each identity in a batch.",
)
@click.option("--dimension", type=_AT_LEAST_1, default=128, show_default=True, help="D, of the embeddings.")
@click.option("--size", default="96x96", show_default=True, metavar="HEIGHTxWIDTH", help="Input size.")
@click.option("--learning-rate", default=2e-3, show_default=True, help="The highest; it warms up and decays.")
@click.option("--steps", type=_AT_LEAST_1, default=1000, show_default=True, help="Batches to train on.")
@click.option("--minutes", type=float, help="A time budget instead of --steps.")
@click.option("--seed", type=_SEED, default=0, show_default=True, help="Of weights, batches, augmentation.")
@click.option("--threads", type=_AT_LEAST_1, default=2, show_default=True, help="For computing.")
def train(data: Path, out: Path, **given: Any) -> None:
    """Train an encoder with the triplet loss on the pictures in DATA, and write its bundle.

    DATA holds an images.csv (path, identity, camera, split) beside its pictures, or a folder for each
    identity.
    """
    from models import training  # noqa: PLC0415 - as in serve

    logging.basicConfig(level="INFO", format="%(message)s")
    given["name"] = given["name"] or out.resolve().name
    given["height"], given["width"] = size(given.pop("size")) or (96, 96)
    given["val_split"] = given["val_split"] or None
    given["margin"] = margin(given["margin"])
    try:
        training.train(training.TrainConfig(data=data, out=out, **given))
    except KeyboardInterrupt as interruption:
        raise click.ClickException("Interrupted; nothing was written.") from interruption
    click.echo(f"Host it with: lookalike serve --encoder {out}")
