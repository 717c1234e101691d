"""`lookalike train`: from a folder of labelled pictures to an encoder's bundle."""

import logging
import signal
from pathlib import Path
from typing import Any

import click

from service.cli.encoders import bundle_options, name_of
from service.cli.loading import loading
from service.cli.options import Command, end, held_out, margin, size

__all__ = ["train"]

_AT_LEAST_1, _AT_LEAST_2 = click.IntRange(min=1), click.IntRange(min=2)
_ABOVE_0 = click.FloatRange(min=0, min_open=True)
_FROM_0 = click.FloatRange(min=0)
_SHARE = click.FloatRange(min=0, max=1, max_open=True)


def _choice(*words: str) -> dict[str, Any]:
    """Return what a choice with a default, the first word, is made from."""
    return {"type": click.Choice(words), "default": words[0], "show_default": True}


def _usual(kind: click.IntRange | click.FloatRange, value: float) -> dict[str, Any]:
    """Return what a number with a default is made from."""
    return {"type": kind, "default": value, "show_default": True}


_DATA = (
    click.option("--train-split", default="train", show_default=True, help="The split to learn from."),
    click.option(
        "--val-split", default="val", show_default=True, help="The split to measure on; '' for none."
    ),
    click.option(
        "--hold-out",
        metavar="SHARE|GROUPS",
        help="Measure on this share of the identities, or on these groups (comma-separated), "
        "and do not learn from them.",
    ),
    click.option(
        "--report-pictures/--no-report-pictures",
        default=True,
        show_default=True,
        help="Whether the bundle's report shows pictures of what it was measured on.",
    ),
    click.option("--size", default="96x96", show_default=True, metavar="HEIGHTxWIDTH", help="Input size."),
    click.option("--channels", **_choice("rgb", "grey"), help="What the network sees of a picture."),
    click.option(
        "--augmentation",
        default="camera",
        show_default=True,
        help="How pictures are changed; docs/training.md lists the names.",
    ),
    click.option(
        "--further-classes",
        **_choice("none", "rotations", "symmetries"),
        help="What turned pictures count as: other classes, for characters and symbols.",
    ),
    click.option(
        "--compounds",
        **_usual(_SHARE, 0.0),
        help="The share of a batch's identities that become others by a small mark; for characters.",
    ),
    click.option("--identities", **_usual(_AT_LEAST_2, 48), help="P, the identities of a batch."),
    click.option("--images", **_usual(_AT_LEAST_2, 2), help="K, the pictures of each identity in a batch."),
    click.option(
        "--together",
        **_usual(_AT_LEAST_1, 1),
        help="How many identities of a batch come from one group each (Omniglot's alphabets).",
    ),
    click.option("--camera-balanced", is_flag=True, help="Spread an identity's K pictures over its cameras."),
)
_NETWORK = (
    click.option(
        "--network", default="small_resnet", show_default=True, help="docs/training.md lists the names."
    ),
    click.option(
        "--network-config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A config.json that says what the network transformers is.",
    ),
    click.option("--neck", is_flag=True, help="Part the two losses' embeddings by a BNNeck."),
    click.option(
        "--pretrained",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Weights to begin with: a public state dict, whose report says what fitted.",
    ),
    click.option("--dimension", **_usual(_AT_LEAST_1, 128), help="D, of the embeddings."),
    click.option(
        "--normalize/--no-normalize",
        default=True,
        show_default=True,
        help="L2-normalise the embeddings, in the triplet loss and ever after.",
    ),
)
_LOSSES = (
    click.option("--mining", **_choice("all", "hard", "semi_hard"), help="Which triplets of a batch count."),
    click.option(
        "--margin", default="0.2", show_default=True, help="Of the triplet loss: a number, or soft."
    ),
    click.option("--triplet-weight", **_usual(_FROM_0, 1.0), help="Of the triplet loss."),
    click.option("--id-weight", **_usual(_FROM_0, 0.0), help="Of the identities' cross-entropy."),
    click.option("--label-smoothing", **_usual(_SHARE, 0.1), help="Of the cross-entropy."),
)
_COURSE = (
    click.option("--learning-rate", **_usual(_ABOVE_0, 2e-3), help="The highest; it warms up and decays."),
    click.option("--warm-up", **_usual(_SHARE, 0.07), help="The share of training in which it rises."),
    click.option("--weight-decay", **_usual(_FROM_0, 0.05), help="AdamW's, on matrices and kernels."),
    click.option("--clip-norm", **_usual(_ABOVE_0, 5.0), help="The largest norm of a gradient."),
    click.option("--ema-decay", type=_SHARE, help="Bundle a moving average of the weights, such as 0.999."),
    click.option("--steps", **_usual(_AT_LEAST_1, 1000), help="Batches to train on."),
    click.option("--minutes", type=_ABOVE_0, help="A time budget instead of --steps."),
    click.option(
        "--seed",
        **_usual(click.IntRange(min=0, max=2**63 - 1), 0),
        help="Of weights, batches, augmentation.",
    ),
)
_MACHINE = (
    click.option(
        "--chunk", type=_AT_LEAST_2, help="Pictures that go through the network at once.  [default: a batch]"
    ),
    click.option("--device", **_choice("auto", "cpu", "cuda"), help="Auto takes a GPU where there is one."),
    click.option(
        "--precision", **_choice("float32", "bfloat16", "float16"), help="Of the network's products."
    ),
    click.option("--threads", **_usual(_AT_LEAST_1, 2), help="For computing."),
    click.option("--save-minutes", **_usual(_ABOVE_0, 5.0), help="How often a checkpoint is written."),
    click.option("--save-steps", type=_AT_LEAST_1, help="Also write one every so many steps."),
    click.option("--resume", is_flag=True, help="Go on from the checkpoint; without one, begin."),
    click.option("--fresh", is_flag=True, help="Begin anew, whatever checkpoint or bundle is there."),
)


def _training_options(command: Command) -> Command:
    """Add the options that say how to train."""
    for option in reversed((*_DATA, *_NETWORK, *_LOSSES, *_COURSE, *_MACHINE)):
        command = option(command)
    return command


def _exclude(one: str, other: str) -> None:
    """Refuse two options that were both given and of which only one can hold."""
    source = click.get_current_context().get_parameter_source
    if all(source(name) is click.core.ParameterSource.COMMANDLINE for name in (one, other)):
        options = " and ".join(f"--{name.replace('_', '-')}" for name in (one, other))
        raise click.UsageError(f"{options} exclude each other: give one of them.")


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@bundle_options
@_training_options
def train(data: Path, out: Path, resume: bool, fresh: bool, **given: Any) -> None:
    """Train an encoder with the triplet loss on the pictures in DATA, and write its bundle.

    DATA holds an images.csv (path, identity, camera, split) beside its pictures, a folder for each identity,
    or one of the field's datasets as it is published.

    Ctrl-C, or a kill, loses nothing: the same command with --resume goes on, to the same weights. Several
    processes train together under torchrun.
    """
    for pair in (("resume", "fresh"), ("steps", "minutes"), ("hold_out", "val_split")):
        _exclude(*pair)
    with loading():
        from models import training  # noqa: PLC0415 - as in serve

    logging.basicConfig(level="INFO", format="%(message)s")
    given["name"] = given["name"] or name_of(out)
    given["hold_out"] = held_out(given["hold_out"])
    given["height"], given["width"] = size(given.pop("size")) or (96, 96)
    given["val_split"] = given["val_split"] or None
    if given["network_config"] is not None:
        given["network_config"] = given["network_config"].read_text("utf-8", errors="replace")
    given["margin"] = margin(given["margin"])
    try:
        training.train(training.TrainConfig(data=data, out=out, **given), resume=resume, fresh=fresh)
    except KeyboardInterrupt:
        end("Interrupted. The same command with --resume goes on.", by=signal.SIGINT)
