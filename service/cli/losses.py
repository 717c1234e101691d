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
from service.cli.arrays import (
    ARRAY_SUFFIXES,
    Label,
    check_output,
    read_labels,
    read_rows,
    write_arrays,
)
from service.cli.distances import metric_text
from service.cli.loss_reports import batch_answer, batch_facts, show_triplets, triplet_answer, triplet_facts
from service.cli.reports import as_json, show_facts, show_json, wrote
from service.cli.tables import Layout

__all__ = ["BatchRequest", "TripletRequest", "compute_batch_loss", "compute_triplet_loss"]


_NO_TRIPLET = (
    "No triplet can be formed: it takes a label with two or more embeddings and one embedding of another "
    "label. Check the labels, or sample batches with several embeddings a label."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What both commands take; the names are those of the REST requests."""

    distance: str
    gradients_out: Path | None
    out: Path | None
    plot: Path | None
    as_json: bool
    header: bool | None
    label_column: str | None = None

    def check_outputs(self, inputs: Sequence[str | None], array_suffixes: Sequence[str]) -> None:
        """Refuse files that cannot be written, before the work."""
        check_output(self.out, (".json",), inputs)
        check_output(self.gradients_out, array_suffixes, inputs)
        check_output(self.plot, PLOT_SUFFIXES, inputs)
        if self.plot is not None:
            require_matplotlib()

    def answer(self, answer: Mapping[str, Any]) -> None:
        """Write the answer to the file, and print it, as JSON where that was asked for."""
        if self.out is not None:
            try:
                self.out.write_bytes(as_json(answer) + b"\n")
            except OSError as error:
                raise click.ClickException(f"{self.out} cannot be written ({error}).") from error
            wrote(self.out, "the answer")
        if self.as_json:
            show_json(answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest(_Request):
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
class TripletRequest(_Request):
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


def compute_batch_loss(wanted: BatchRequest) -> None:
    """Mine triplets from labelled embeddings and report their loss.

    Raises:
        ClickException: a file that cannot be used, or labels that form no triplet.
        LookalikeError: from `models.losses`.
    """
    wanted.check_outputs((wanted.embeddings, wanted.labels), ARRAY_SUFFIXES)
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
    if result.valid_triplets == 0:
        raise click.ClickException(_NO_TRIPLET)
    if wanted.gradients_out is not None:
        (gradient,) = torch.autograd.grad(result.loss.sum(), x)
        write_arrays(wanted.gradients_out, {"gradients": gradient})
        wrote(wanted.gradients_out, "the gradient for each embedding")
    reduction = wanted.reduction or ("mean_active" if wanted.mining == "all" else "mean")
    wanted.answer(batch_answer(result, reduction, listed=wanted.return_triplets != 0))
    if wanted.plot is not None:
        rows = l2_normalize(x.detach()) if wanted.normalize else x
        d_ap, d_an = batch_histograms(rows, labels, metric)
        _plot(wanted.plot, (d_ap, d_an), metric, wanted.margin)
    if not wanted.as_json:
        facts = batch_facts(result, reduction, wanted.margin)
        data = f"{len(x):,} of {x.shape[1]:,} numbers, {len(set(labels)):,} labels"
        show_facts([*facts, ("distance", metric_text(metric)), ("embeddings", data)])
        show_triplets(result.triplets, labels)


def compute_triplet_loss(wanted: TripletRequest) -> None:
    """Compute the loss of explicit triplets and report it.

    Raises:
        ClickException: a file that cannot be used.
        LookalikeError: from `models.losses`.
    """
    files = {"anchor": wanted.anchor, "positive": wanted.positive, "negative": wanted.negative}
    wanted.check_outputs(tuple(files.values()), (".safetensors",))
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
    wanted.answer(triplet_answer(result, wanted.reduction))
    if wanted.plot is not None:
        _plot_triplets(wanted.plot, {name: values.detach() for name, values in rows.items()}, options)
    if not wanted.as_json:
        facts = triplet_facts(result, wanted.reduction, wanted.margin)
        show_facts([*facts, ("distance", metric_text(options.metric()))])


def _labelled(wanted: BatchRequest) -> tuple[Tensor, list[Label]]:
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
