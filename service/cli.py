"""The command `lookalike`."""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from models.errors import LookalikeError
from service.settings import ENV_PREFIX, Settings, unknown_variables

__all__ = ["main"]

Command = Callable[..., Any]

_AT_LEAST_1, _AT_LEAST_2 = click.IntRange(min=1), click.IntRange(min=2)
_SEED = click.IntRange(min=0, max=2**63 - 1)


class _Group(click.Group):
    """Turns our own exceptions, and files that cannot be used, into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LookalikeError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.filename is None:  # not about a file that the person named
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}.") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lookalike")
def main() -> None:
    """Embedding similarity over REST: who is this, how sure are you, and what else looks like it?"""


def _settings_options(command: Command) -> Command:
    """Add an option for every setting, with its description, default and variable."""
    for name, setting in reversed(Settings.model_fields.items()):
        option = click.option(
            f"--{name.replace('_', '-')}",
            name,
            type=_click_type(setting),
            default=None,
            help=f"{setting.description}  [{ENV_PREFIX}{name.upper()}; default: {setting.default}]",
        )
        command = option(command)
    return command


def _click_type(setting: FieldInfo) -> Any:
    annotation: Any = setting.annotation
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    return click.Path(path_type=Path) if annotation is Path else annotation


@main.command()
@_settings_options
def serve(**given: Any) -> None:
    """Start the server. Options win over LOOKALIKE_* variables, which win over defaults."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise click.UsageError(
            f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()}): {first['msg']}."
        ) from error
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("faiss.loader").setLevel("WARNING")  # it tells which vector units it tries
    for sentence in unknown_variables():
        logging.getLogger("lookalike").warning(sentence)
    _refuse_taken_address(settings.host, settings.port)
    # As process 1 of a container it would ignore SIGTERM until uvicorn handles it, seconds from here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from service.server import run  # noqa: PLC0415 - torch and faiss take seconds that --help need not

    run(settings)


def _refuse_taken_address(host: str, port: int) -> None:
    """Fail at once where the server could not listen, before it spends seconds on loading."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on port {port} of {host}: {error.strerror}. Stop what listens there, or choose "
            "another --port or --host."
        ) from error


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


@main.group()
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
    given["size"] = _size(given["size"])
    given["mean"], given["std"] = _numbers("--mean", given["mean"]), _numbers("--std", given["std"])
    given["pixel_max"] = int(given["pixel_max"])
    report = import_onnx(file, out, ImportOptions(**given))
    for note in report.notes:
        click.echo(note)
    manifest = report.encoder.manifest
    click.echo(f"Wrote {out}: encoder {manifest.name!r}, fingerprint {manifest.fingerprint[:12]}.")
    click.echo(f"Host it with: lookalike serve --encoder {out}")


@main.command()
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


@main.command()
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
    given["height"], given["width"] = _size(given.pop("size")) or (96, 96)
    given["val_split"] = given["val_split"] or None
    given["margin"] = "soft" if given["margin"] == "soft" else _number("--margin", given["margin"])
    try:
        training.train(training.TrainConfig(data=data, out=out, **given))
    except KeyboardInterrupt as interruption:
        raise click.ClickException("Interrupted; nothing was written.") from interruption
    click.echo(f"Host it with: lookalike serve --encoder {out}")


def _size(text: str | None) -> tuple[int, int] | None:
    """Read HEIGHTxWIDTH."""
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    # A digit may be one that int() does not read, such as a superscript; a decimal never is.
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise click.BadParameter("give it as HEIGHTxWIDTH, such as 256x128", param_hint="--size")
    return int(height), int(width)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Read one number, or several with commas between."""
    return None if text is None else tuple(_number(option, part) for part in text.split(","))


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no number", param_hint=option) from error


if __name__ == "__main__":
    main()
