"""`lookalike encoder` and `draw`: bundles, and pictures to try things with."""

import re
from pathlib import Path
from shlex import quote
from typing import Any

import click

from service.cli.cards import card, show_card
from service.cli.detectors import add_detector_command
from service.cli.loading import loading
from service.cli.operating import use
from service.cli.options import Command, check_new, numbers, replace_option, size
from service.cli.reports import show_json

__all__ = ["NAME", "PRESETS", "TAKES", "bundle_options", "draw", "encoder", "name_of"]

# As models.manifest has it, without the torch that comes with it; a test compares the two.
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

# As models.importing has them, likewise.
PRESETS = ("insightface", "arcface", "osnet", "fastreid", "imagenet")
TAKES = ("pooled", "cls", "mean", "projected", "after-neck", "before-neck")

_AT_LEAST_1 = click.IntRange(min=1)
_SEED = click.IntRange(min=0, max=2**63 - 1)


def bundle_options(command: Command) -> Command:
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


def name_of(out: Path) -> str:
    """Return the name that an encoder has by its folder.

    Raises:
        UsageError: the folder's name is none for an encoder.
    """
    name = out.resolve().name
    if not NAME.fullmatch(name):
        raise click.UsageError(
            f"An encoder cannot be called {name!r}, as its folder is: a letter from A to Z or a digit comes "
            "first, and letters, digits, . _ and - may follow, 64 in all. Give it a name with --name."
        )
    return name


@click.group()
def encoder() -> None:
    """Make and inspect encoder bundles."""


@encoder.command(name="import")
@click.argument("file", metavar="FILE|FOLDER", type=click.Path(path_type=Path, exists=True))
@bundle_options
@click.option("--preset", type=click.Choice(PRESETS), help="A family's numbers, for what nothing else says.")
@click.option("--size", metavar="HEIGHTxWIDTH", help="Input size, where the encoder leaves it open.")
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
    help="The distance to compare embeddings by.  [default: the preset's, else cosine]",
)
@click.option(
    "--resize",
    type=click.Choice(["bilinear", "bicubic"]),
    help="How pictures are resized.  [default: the file's, the preset's, else bilinear]",
)
@click.option("--output", help="The embedding's name, where an ONNX graph has several outputs.")
@click.option("--take", type=click.Choice(TAKES), help="What of the network is the embedding.")
@replace_option
def import_encoder(file: Path, out: Path, replace: bool, **given: Any) -> None:
    """Make a bundle from an encoder that comes from elsewhere.

    FILE is an ONNX graph, or a PyTorch state dict (.pth, .pt, .safetensors) of OSNet, FastReID or
    torchvision's ResNet-50; FOLDER a vision model of Hugging Face (with the extra `transformers`). What they
    say is read from them; what is then missing is asked for by options, all at once.

    \b
    lookalike encoder import w600k_r50.onnx --preset insightface --out bundles/face
    lookalike encoder import osnet_x1_0_msmt17.pth --out bundles/person
    lookalike encoder import market_bot_R50.pth --out bundles/person
    lookalike encoder import dinov2-small/ --take cls --out bundles/picture
    lookalike encoder import other.onnx --mean 127.5 --std 128 --channels rgb --normalize --out bundles/other
    """  # noqa: D301 - click's mark for "keep these lines" is the character itself
    with loading():
        from models.importing import ImportOptions, import_encoder  # noqa: PLC0415 - as in serve

    check_new(out, replace=replace)
    given["name"] = given["name"] or name_of(out)
    given["size"] = size(given["size"])
    given["mean"], given["std"] = numbers("--mean", given["mean"]), numbers("--std", given["std"])
    given["pixel_max"] = int(given["pixel_max"])
    report = import_encoder(file, out, ImportOptions(**given))
    for note in report.notes:
        click.echo(note)
    manifest = report.encoder.manifest
    click.echo(f"Wrote {out}: encoder {manifest.name!r}, fingerprint {manifest.fingerprint[:12]}.")
    click.echo(f"Host it with: lookalike serve --encoder {quote(str(out))}")


@encoder.command(name="export")
@click.argument("bundle")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder of a bundle for ONNX Runtime to write."
)
@click.option(
    "--onnx",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A bare graph to write, for use without Lookalike.",
)
@replace_option
def export_encoder(bundle: str, out: Path | None, file: Path | None, replace: bool) -> None:
    """Make of BUNDLE, a shipped encoder's name or a folder, an encoder for ONNX Runtime.

    ONNX Runtime must give the embeddings that PyTorch gives, whatever the size of a batch.
    """
    if out is None and file is None:
        raise click.UsageError("Say where to: --out FOLDER for a bundle, --onnx FILE for a bare graph.")
    with loading():
        from models.bundle import find_bundle  # noqa: PLC0415 - as in serve
        from models.onnx_export import export_onnx, write_exported  # noqa: PLC0415 - as in serve

    folder = find_bundle(bundle)
    if out is not None:
        check_new(out, replace=replace)
    if file is not None and file.exists() and not replace:
        raise click.ClickException(f"{file} is there already. Name another file, or replace it by --replace.")
    exported = export_onnx(folder)
    click.echo(
        f"ONNX Runtime gives PyTorch's embeddings of {exported.pictures} pictures in batches of 1, 2 and 7: "
        f"the largest relative difference is {exported.difference:.1e}."
    )
    if file is not None:
        file.write_bytes(exported.graph)
        click.echo(f"Wrote {file}: {exported.usage()}")
    if out is not None:
        manifest = write_exported(exported, out).manifest
        click.echo(f"Wrote {out}: encoder {manifest.name!r}, fingerprint {manifest.fingerprint[:12]}.")
        click.echo(f"Host it with: lookalike serve --encoder {quote(str(out))}")


@encoder.command(name="show")
@click.argument("bundle")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def show(bundle: str, as_json: bool) -> None:
    """Tell what BUNDLE, a shipped encoder's name or a folder, is, how good, and how it was made."""
    with loading():
        from models.bundle import find_bundle, read_bundle  # noqa: PLC0415 - as in serve

    shown = card(read_bundle(find_bundle(bundle)))
    if as_json:
        show_json(shown)
    else:
        show_card(shown)


encoder.add_command(add_detector_command)
encoder.add_command(use)


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
