"""What `lookalike losses batch` and `lookalike losses triplet` do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import torch
from torch import Tensor

from models.distances import Metric, l2_normalize, metric_of, paired
from models.histograms import Histogram, batch_histograms, histograms
from models.losses import TripletOptions, batch_triplet_loss, explicit_triplet_loss
from models.plots import PLOT_SUFFIXES, plot_triplet_distances, require_matplotlib
from service.answers import batch_answer, require_triplets, triplet_answer
from service.cli.arrays import (
    ARRAY_SUFFIXES,
    Label,
    check_layout,
    check_output,
    read_labels,
    read_rows,
    write_arrays,
)
from service.cli.distances import metric_text
from service.cli.loss_reports import batch_facts, show_triplets, triplet_facts
from service.cli.reports import as_json, show_facts, show_json, wrote
from service.cli.tables import Layout

__all__ = ["BatchArguments", "TripletArguments", "compute_batch_loss", "compute_triplet_loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arguments:
    """What both commands take; the names are those of the REST requests."""

    distance: str
    gradients_out: Path | None
    out: Path | None
    plot: Path | None
    as_json: bool
    header: bool | None
    label_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchArguments(_Arguments):
    """The arguments and options of `lookalike losses batch`."""

    embeddings: str
    labels: str | None
    mining: str
    margin: float | Literal["soft"]
    p: float
    normalize: bool
    reduction: str | None
    return_triplets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletArguments(_Arguments):
    """The arguments and options of `lookalike losses triplet`."""

    anchor: str
    positive: str | None
    negative: str | None
    margin: float
    p: float | None
    eps: float | None
    swap: bool
    alpha: float
    reduction: str


def compute_batch_loss(wanted: BatchArguments) -> None:
    """Mine triplets from labelled embeddings and report their loss.

    Raises:
        ClickException: a file that cannot be used, or labels that form no triplet.
        LookalikeError: from `models.losses`.
    """
    _check_files(wanted, (wanted.embeddings, wanted.labels), ARRAY_SUFFIXES)
    metric = metric_of(wanted.distance, wanted.p)
    x, labels = _labelled(wanted)
    x.requires_grad_(wanted.gradients_out is not None)
    result = batch_triplet_loss(
        x,
        labels,
        mining=wanted.mining,
        margin=wanted.margin,
        distance=metric,
        normalize=wanted.normalize,
        reduction=wanted.reduction,
        return_triplets=wanted.return_triplets,
    )
    require_triplets(result)
    if wanted.gradients_out is not None:
        (gradient,) = torch.autograd.grad(result.loss.sum(), x)
        write_arrays(wanted.gradients_out, {"gradients": gradient})
        wrote(wanted.gradients_out, "the gradient for each embedding")
    _give(batch_answer(result, listed=wanted.return_triplets != 0), wanted)
    if wanted.plot is not None:
        rows = l2_normalize(x.detach()) if wanted.normalize else x
        d_ap, d_an = batch_histograms(rows, labels, metric)
        _plot(wanted.plot, (d_ap, d_an), metric, wanted.margin)
    if not wanted.as_json:
        facts = batch_facts(result, wanted.margin)
        data = f"{len(x):,} of {x.shape[1]:,} numbers, {len(set(labels)):,} labels"
        show_facts([*facts, ("distance", metric_text(metric)), ("embeddings", data)])
        show_triplets(result.triplets, labels)


def compute_triplet_loss(wanted: TripletArguments) -> None:
    """Compute the loss of explicit triplets and report it.

    Raises:
        ClickException: a file that cannot be used.
        LookalikeError: from `models.losses`.
    """
    files = {"anchor": wanted.anchor, "positive": wanted.positive, "negative": wanted.negative}
    _check_files(wanted, tuple(files.values()), (".safetensors",))
    options = TripletOptions(
        margin=wanted.margin,
        distance=wanted.distance,
        p=wanted.p,
        eps=wanted.eps,
        swap=wanted.swap,
        alpha=wanted.alpha,
        reduction=wanted.reduction,
    )
    rows = _triplets(files, Layout(header=wanted.header, label_column=wanted.label_column))
    for values in rows.values():
        values.requires_grad_(wanted.gradients_out is not None)
    anchor, positive, negative = rows.values()
    result = explicit_triplet_loss(anchor, positive, negative, options)
    if wanted.gradients_out is not None:
        gradients = torch.autograd.grad(result.loss.sum(), tuple(rows.values()))
        write_arrays(wanted.gradients_out, dict(zip(rows, gradients, strict=True)))
        wrote(wanted.gradients_out, "the gradients for anchor, positive and negative")
    _give(triplet_answer(result, wanted.reduction), wanted)
    if wanted.plot is not None:
        _plot_triplets(wanted.plot, {name: values.detach() for name, values in rows.items()}, options)
    if not wanted.as_json:
        facts = triplet_facts(result, wanted.reduction, wanted.margin)
        show_facts([*facts, ("distance", metric_text(options.metric()))])


def _check_files(wanted: _Arguments, inputs: Sequence[str | None], array_suffixes: Sequence[str]) -> None:
    """Refuse files that cannot be written, and options that are for none of them, before the work."""
    check_layout(inputs, header=wanted.header, label_column=wanted.label_column)
    check_output(wanted.out, (".json",), inputs)
    check_output(wanted.gradients_out, array_suffixes, inputs)
    check_output(wanted.plot, PLOT_SUFFIXES, inputs)
    if wanted.plot is not None:
        require_matplotlib()


def _give(answer: Mapping[str, Any], wanted: _Arguments) -> None:
    """Write the answer to the file, and print it, as JSON where that was asked for."""
    if wanted.out is not None:
        try:
            wanted.out.write_bytes(as_json(answer) + b"\n")
        except OSError as error:
            raise click.ClickException(f"{wanted.out} cannot be written ({error}).") from error
        wrote(wanted.out, "the answer")
    if wanted.as_json:
        show_json(answer)


def _labelled(wanted: BatchArguments) -> tuple[Tensor, list[Label]]:
    """Read the embeddings, and their labels from the file of their own or from the same one."""
    layout = Layout(header=wanted.header, label_column=wanted.label_column)
    if wanted.labels is None:
        x, labels = read_rows(wanted.embeddings, ("embeddings",), layout, labelled=True)
        if labels is None:
            raise click.ClickException(
                f"{wanted.embeddings} has no labels: give them with --labels FILE, as a tensor named labels "
                "in a .safetensors file, or as a column of a .csv file (--label-column)."
            )
        return x, labels
    # The column that was named is one of the labels' own file; a header holds for both.
    x = read_rows(wanted.embeddings, ("embeddings",), Layout(header=wanted.header)).values
    labels = read_labels(wanted.labels, layout)
    if len(labels) != len(x):
        hint = " If its first line names the column, add --header." if len(labels) == len(x) + 1 else ""
        raise click.ClickException(
            f"{wanted.labels} has {len(labels):,} labels for the {len(x):,} rows of {wanted.embeddings}; "
            f"there must be one for each row.{hint}"
        )
    return x, labels


def _triplets(files: Mapping[str, str | None], layout: Layout) -> dict[str, Tensor]:
    """Read the three sides, from three files or from one .safetensors file that holds them all."""
    given = {name: source for name, source in files.items() if source is not None}
    if len(given) == 1 and given["anchor"].lower().endswith(".safetensors"):
        given = {name: f"{given['anchor']}:{name}" for name in files}
    if len(given) != len(files):
        raise click.ClickException(
            "Give three files, ANCHOR POSITIVE NEGATIVE, or one .safetensors file with tensors of these "
            "names."
        )
    return {name: read_rows(source, (name,), layout).values for name, source in given.items()}


def _plot_triplets(path: Path, rows: Mapping[str, Tensor], options: TripletOptions) -> None:
    metric = options.metric()
    d_ap = paired(rows["anchor"], rows["positive"], metric)
    d_an = paired(rows["anchor"], rows["negative"], metric)
    if options.swap:
        d_an = torch.minimum(d_an, paired(rows["positive"], rows["negative"], metric))
    positive, negative = histograms(lambda: [(d_ap, d_an)], 2)
    _plot(path, (positive, negative), metric, options.margin)


def _plot(
    path: Path, series: tuple[Histogram, Histogram], metric: Metric, margin: float | Literal["soft"]
) -> None:
    plot_triplet_distances(path, *series, distance=metric_text(metric), margin=margin)
    wrote(path, "the histogram")
