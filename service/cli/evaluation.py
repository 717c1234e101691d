"""`lookalike evaluate`: how good an encoder is on a dataset, as a table, JSON and a report with pictures."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.loading import loading
from service.cli.reports import wrote

if TYPE_CHECKING:  # they come with torch, which --help need not wait for
    from models.datasets import ImageSet, Pairs
    from models.evaluation import Evaluation, Figure
    from models.runtime import Encoder

__all__ = ["FORMS", "PROTOCOLS", "evaluate"]

_FILE = click.Path(path_type=Path, dir_okay=False)
_AT_LEAST_1 = click.IntRange(min=1)
_HEADS = ("figure", "value", "95 % interval", "random weights", "over")

# As models.datasets and models.evaluation have them, without the torch that comes with these; a test
# compares.
FORMS = ("csv", "market1501", "veri776", "vehicleid", "sop", "lfw", "omniglot", "folders")
PROTOCOLS = ("re-identification", "vehicleid", "lfw", "omniglot", "metric-learning")


@click.command()
@click.argument("bundle")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--split",
    default="val",
    show_default=True,
    help="The part of the dataset to measure on; 'held out' is what the encoder's training held out of it.",
)
@click.option(
    "--form", type=click.Choice(("auto", *FORMS)), default="auto", show_default=True, help="The dataset's."
)
@click.option(
    "--protocol",
    type=click.Choice(("auto", *PROTOCOLS)),
    default="auto",
    show_default=True,
    help="What is measured; auto is what the dataset's papers report.",
)
@click.option("--rerank", is_flag=True, help="Also measure k-reciprocal re-ranking.")
@click.option("--baseline", is_flag=True, help="Also measure random weights of the same architecture.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder for evaluation.json and report.html.  [default: BUNDLE.evaluation]",
)
@click.option("--json", "json_path", type=_FILE, help="Write the JSON here instead.")
@click.option("--html", "html_path", type=_FILE, help="Write the report here instead.")
@click.option(
    "--pictures/--no-pictures",
    default=True,
    show_default=True,
    help="Whether the report shows pictures, and names files and identities.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=200),  # fewer than five would lie beyond each end of a 95 % interval
    default=1000,
    show_default=True,
    help="Of the intervals' bootstrap.",
)
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), default=0, show_default=True)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Auto takes a GPU where there is one.",
)
@click.option("--threads", type=_AT_LEAST_1, default=2, show_default=True, help="For decoding and computing.")
def evaluate(bundle: str, dataset: Path, **given: Any) -> None:
    """Measure the encoder BUNDLE on the pictures of DATASET.

    BUNDLE is the name of a shipped encoder or a bundle's folder. DATASET is a folder in any of the forms of
    docs/datasets.md, or a file of LFW's pairs. Printed are the figures with their intervals;
    docs/evaluation.md says what each means.

    \b
    lookalike evaluate vehicle pictures --split val --baseline
    lookalike evaluate runs/faces lfw/pairs.txt --no-pictures
    """  # noqa: D301 - click's mark for "keep these lines" is the character itself
    with loading():
        from torch import set_num_threads  # noqa: PLC0415 - as in serve

        from models.bundle import find_bundle  # noqa: PLC0415 - as in serve
        from models.evaluation import (  # noqa: PLC0415 - as in serve
            EvaluationOptions,
            figures_of,
            warnings_of,
        )
        from models.evaluation import evaluate as run  # noqa: PLC0415 - as in serve
        from models.runtime import load_encoder  # noqa: PLC0415 - as in serve

    logging.basicConfig(level="INFO", format="%(message)s")
    places = _places(bundle, dataset, given.pop("out"), given.pop("json_path"), given.pop("html_path"))
    pictures, device, split = given.pop("pictures"), given.pop("device"), given.pop("split")
    folder = find_bundle(bundle)
    images, pairs = _subject(folder, dataset, split, given.pop("form"))
    options = EvaluationOptions(pairs=pairs, **given)
    set_num_threads(options.threads)
    encoder = load_encoder(folder, device=device, threads=options.threads)
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is said before the work
    click.echo(str(pairs or images), err=True)
    evaluation = run(encoder, images, options)
    _show(figures_of(evaluation), chance=evaluation.baseline is not None)
    for name, reason in evaluation.not_measured.items():
        click.echo(f"Not measured: {name.replace('_', ' ')}. {reason}", err=True)
    for sentence in warnings_of(evaluation):
        click.echo(f"Note: {sentence}", err=True)
    _write(places, encoder, evaluation, pictures=pictures)
    if options.protocol == "lfw" and "pairs" in evaluation.not_measured:  # a script is to see it too
        raise click.ClickException(
            "--protocol lfw is for given pairs, and this set has none that could be measured; the other "
            "figures were written."
        )


def _subject(folder: Path, dataset: Path, split: str, form: str) -> "tuple[ImageSet, Pairs | None]":
    """Read what is measured on."""
    from models.bundle import read_bundle  # noqa: PLC0415 - as in serve
    from models.datasets import HELD_OUT  # noqa: PLC0415 - as in serve
    from models.evaluation import read_held_out, read_subject  # noqa: PLC0415 - as in serve

    if split != HELD_OUT:
        return read_subject(dataset, split, form=form)
    return read_held_out(read_bundle(folder).manifest.training, dataset, form=form), None


def _places(
    bundle: str, dataset: Path, out: Path | None, json_path: Path | None, html_path: Path | None
) -> tuple[Path, Path]:
    """Return where the two files go.

    Raises:
        UsageError: both are one file.
        ClickException: one would lie among the dataset's pictures, or in a bundle.
    """
    from models.bundle import holds_bundle  # noqa: PLC0415 - as in serve
    from models.manifest import REPORT_NAMES  # noqa: PLC0415 - as in serve

    if out is None:
        beside = Path(bundle) if Path(bundle).is_dir() else Path(Path(bundle).name)
        out = beside.absolute().parent / f"{beside.absolute().name}.evaluation"
    figures, report = REPORT_NAMES
    places = json_path or out / figures, html_path or out / report
    if places[0].resolve() == places[1].resolve():
        raise click.UsageError(f"Figures and report would both be {places[0]}. Give each its own file.")
    pictures = dataset.parent if dataset.is_file() else dataset
    for place in places:
        if pictures.is_dir() and place.resolve().is_relative_to(pictures.resolve()):
            raise click.ClickException(
                f"{place} would lie in the dataset's own folder. Choose another place with --out."
            )
        if holds_bundle(place.parent):
            raise click.ClickException(
                f"{place.parent} holds a bundle, whose own files must stay as they are. Choose another place "
                "with --out."
            )
    return places


def _write(
    places: tuple[Path, Path], encoder: "Encoder", evaluation: "Evaluation", *, pictures: bool
) -> None:
    from models.reports import evaluation_files  # noqa: PLC0415 - as in serve

    files = evaluation_files(encoder, evaluation, pictures=pictures)
    for place, content in zip(places, files.values(), strict=False):  # without matplotlib there is one
        replaced = place.exists()
        place.write_bytes(content)
        wrote(place, "the report" if place == places[1] else "the figures", replaced=replaced)
    for place in places[len(files) :]:  # an older report would stand beside figures that are not its own
        place.unlink(missing_ok=True)


def _show(figures: "Sequence[Figure]", *, chance: bool) -> None:
    """Print figures by their groups: on a terminal as a table, elsewhere in columns that nothing cuts off."""
    columns = [0, 1, 2, 3, 4] if chance else [0, 1, 2, 4]
    rows: list[tuple[str, ...]] = []
    group = ""
    for figure in figures:
        if figure.group != group:
            group = figure.group
            rows.append((group,))
        cells = (f"  {figure.name}", figure.value, figure.interval, figure.chance, figure.counts)
        rows.append(tuple(cells[column] for column in columns))
    heads = tuple(_HEADS[column] for column in columns)
    if sys.stdout.isatty():
        _print_table(heads, rows)
        return
    widths = [max(len(row[at]) for row in (heads, *rows) if len(row) > 1) for at in range(len(heads))]
    for row in (heads, *rows):
        padded = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join(padded).rstrip())


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - as in serve
    from rich.table import Table  # noqa: PLC0415 - as in serve
    from rich.text import Text  # noqa: PLC0415 - as in serve

    table = Table(box=None, pad_edge=False)
    for at, head in enumerate(heads):
        table.add_column(
            head, justify="right" if head in {"value", "random weights"} else "left", no_wrap=at < 2
        )
    for row in rows:
        style = "bold" if len(row) == 1 else ""
        table.add_row(*(Text(cell, style=style) for cell in row))  # Text: a name may look like markup
    Console().print(table)
