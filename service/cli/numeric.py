"""`lookalike distances` and `lookalike losses`: the numbers of the REST service, on files."""

from pathlib import Path
from typing import Any

import click

from service.cli.loading import loading
from service.cli.options import MATRIX_METRICS, ROW_METRICS, Command, layout_options, margin

__all__ = ["distances", "losses"]

_FILE = click.Path(path_type=Path)
_PLOT = "Draw {} to this .png or .svg file (needs the extra `plot`)."
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, as REST gives it.")
_NORMALIZE = click.option("--normalize", is_flag=True, help="L2-normalise the rows first.")


def _order(default: float | None) -> Command:
    return click.option(
        "--p",
        type=float,
        default=default,
        show_default=default is not None,
        help="The order of minkowski, or of euclidean.",
    )


def _loss_options(command: Command) -> Command:
    """Add the options that both losses share."""
    options = (
        click.option(
            "--distance",
            "--metric",
            "distance",
            type=click.Choice(ROW_METRICS),
            default="euclidean",
            show_default=True,
        ),
        click.option("--out", type=_FILE, help="Write the answer to this .json file."),
        _JSON,
        click.option(
            "--plot", type=_FILE, help=_PLOT.format("the histograms of d_ap and d_an with the margin")
        ),
        layout_options,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("x")
@click.argument("y", required=False)
@click.option(
    "--metric", type=click.Choice((*ROW_METRICS, *MATRIX_METRICS)), default="euclidean", show_default=True
)
@_order(2.0)
@click.option("--paired", is_flag=True, help="Compare row i of X with row i of Y only.")
@_NORMALIZE
@click.option("--reduction", type=click.Choice(["none", "mean", "sum"]), default="none", show_default=True)
@click.option("--out", type=_FILE, help="Write them to this .npy, .safetensors or .csv file.")
@_JSON
@click.option("--plot", type=_FILE, help=_PLOT.format("their histogram"))
@layout_options
def distances(**given: Any) -> None:
    """Compute distances between embeddings in files.

    Every row of X is compared with every row of Y (without Y: of X). They are .npy, .safetensors or .csv
    files with a row for each embedding; FILE.safetensors:NAME takes a tensor by its name. Smaller is closer.
    Without --out, shape and spread are printed, and few distances themselves.

    \b
    lookalike distances queries.npy gallery.npy --metric cosine --out distances.npy
    lookalike distances embeddings.csv --plot spread.png
    """  # noqa: D301 - click's mark for "keep these lines" is the character itself
    with loading():
        from service.cli.distances import DistancesArguments, compute_distances  # noqa: PLC0415 - as in serve

    compute_distances(DistancesArguments(**given))


@click.group()
def losses() -> None:
    """Compute triplet losses of embeddings in files."""


@losses.command()
@click.argument("embeddings")
@click.option("--labels", help="Their labels: a .npy, .safetensors or .csv file, where EMBEDDINGS has none.")
@click.option("--mining", type=click.Choice(["all", "hard", "semi_hard"]), default="all", show_default=True)
@click.option("--margin", default="0.2", show_default=True, help="A number, or soft.")
@_order(2.0)
@_NORMALIZE
@click.option(
    "--reduction",
    type=click.Choice(["none", "mean", "sum", "mean_active"]),
    help="[default: mean_active for all, mean for hard and semi_hard]",
)
@click.option(
    "--return-triplets",
    type=click.IntRange(-1, 100_000),
    default=0,
    show_default=True,
    metavar="N",
    help="List the N triplets of largest loss; -1 all that were formed.",
)
@click.option(
    "--gradients-out", type=_FILE, help="Write the gradients to this .npy, .safetensors or .csv file."
)
@_loss_options
def batch(**given: Any) -> None:
    """Mine triplets from labelled EMBEDDINGS, and compute their loss.

    EMBEDDINGS is a .npy, .safetensors or .csv file with a row for each embedding. Labels are integers or
    strings: a tensor `labels` or a column `label` of the same file, or a file of their own.

    \b
    lookalike losses batch embeddings.npy --labels labels.npy --mining hard --return-triplets 5
    lookalike losses batch embeddings.csv --margin soft --plot spread.png
    """  # noqa: D301 - as above
    with loading():
        from service.cli.losses import BatchArguments, compute_batch_loss  # noqa: PLC0415 - as in serve

    given["margin"] = margin(given["margin"])
    compute_batch_loss(BatchArguments(**given))


@losses.command()
@click.argument("anchor")
@click.argument("positive", required=False)
@click.argument("negative", required=False)
@click.option("--margin", type=float, default=1.0, show_default=True)
@_order(None)
@click.option("--eps", type=float, help="Added to each difference of euclidean, as torch does; 1e-6.")
@click.option("--swap", is_flag=True, help="Use d(positive, negative) where it is smaller.")
@click.option("--alpha", type=float, default=0.0, show_default=True, help="Adds alpha (d_ap + d_an) to each.")
@click.option(
    "--reduction",
    type=click.Choice(["none", "mean", "sum", "mean_active"]),
    default="mean",
    show_default=True,
)
@click.option("--gradients-out", type=_FILE, help="Write the three gradients to this .safetensors file.")
@_loss_options
def triplet(**given: Any) -> None:
    """Compute the loss of given triplets: row i of ANCHOR, of POSITIVE and of NEGATIVE.

    They are three .npy, .safetensors or .csv files, or one .safetensors file with tensors of these names. The
    loss is torch's triplet_margin_loss for its options.

    \b
    lookalike losses triplet anchor.npy positive.npy negative.npy --margin 0.5
    lookalike losses triplet triplets.safetensors --swap --json
    """  # noqa: D301 - as above
    with loading():
        from service.cli.losses import TripletArguments, compute_triplet_loss  # noqa: PLC0415 - as in serve

    compute_triplet_loss(TripletArguments(**given))
