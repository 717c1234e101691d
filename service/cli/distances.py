"""What `lookalike distances` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.distances import (
    MATRIX_METRICS,
    Metric,
    l2_normalize,
    matrix_distance,
    metric_of,
    paired,
    pairwise,
    reduce_distances,
)
from models.histograms import histograms
from models.plots import PLOT_SUFFIXES, plot_distances, require_matplotlib
from service.cli.arrays import ARRAY_SUFFIXES, check_output, read_rows, write_arrays
from service.cli.reports import show_facts, show_json, show_table, wrote
from service.cli.tables import Layout

__all__ = ["DistancesRequest", "compute_distances", "metric_text"]

_SMALL = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DistancesRequest:
    """The command's arguments and options; the names are those of the REST request."""

    x: str
    y: str | None
    metric: str
    p: float
    paired: bool
    normalize: bool
    reduction: str
    out: Path | None
    plot: Path | None
    as_json: bool
    header: bool | None
    label_column: str | None


def compute_distances(wanted: DistancesRequest) -> None:
    """Read the files, compute, and write or print what was asked for.

    Raises:
        ClickException: a file that cannot be used, or options that do not go together.
        LookalikeError: from `models.distances`.
    """
    metric = metric_of(wanted.metric, wanted.p)
    _check(wanted, metric)
    layout = Layout(header=wanted.header, label_column=wanted.label_column)
    x = read_rows(wanted.x, ("x", "embeddings"), layout).values
    y = None if wanted.y is None else read_rows(wanted.y, ("y", "embeddings"), layout).values
    if wanted.normalize:
        x, y = l2_normalize(x), None if y is None else l2_normalize(y)
    with torch.inference_mode():
        distances = _distances(x, y, metric, wanted)
        answer = distances if distances.ndim == 0 else reduce_distances(distances, wanted.reduction)
    if wanted.out is not None:
        write_arrays(wanted.out, {"distances": answer})
        wrote(wanted.out, "the distances")
    if wanted.as_json:
        values: Any = answer.numpy() if answer.ndim else answer.item()
        show_json({"metric": metric.name, "shape": list(answer.shape), "distances": values})
    if wanted.as_json and wanted.plot is None:
        return
    # A row is at distance 0 of itself, which says nothing about how distances spread.
    counted = _others(distances) if y is None and distances.ndim == 2 else distances.numpy().ravel()
    if wanted.plot is not None:
        (histogram,) = histograms(lambda: [[counted]], 1)
        plot_distances(wanted.plot, histogram, distance=metric_text(metric))
        wrote(wanted.plot, "the histogram")
    if not wanted.as_json:
        _report(answer, counted, metric, wanted)


def metric_text(metric: Metric) -> str:
    """Return the metric's name, with its order where it has one."""
    return f"minkowski (p = {metric.p:g})" if metric.name == "minkowski" else metric.name


def _check(wanted: DistancesRequest, metric: Metric) -> None:
    """Refuse what cannot go together before any file is read."""
    whole = metric.name in MATRIX_METRICS
    if wanted.paired and wanted.y is None:
        raise click.ClickException("--paired compares row i of X with row i of Y: give Y, or leave it out.")
    if whole and (wanted.y is None or wanted.paired):
        message = f"{metric.name} compares two whole matrices: give X and Y, without --paired."
        raise click.ClickException(message)
    if whole and wanted.plot is not None:
        raise click.ClickException(f"{metric.name} gives one number, of which there is no histogram.")
    if wanted.normalize and metric.name in ("kl_divergence", "cross_entropy"):
        message = f"{metric.name} compares distributions, which sum to 1; leave --normalize out."
        raise click.ClickException(message)
    inputs = (wanted.x, wanted.y)
    check_output(wanted.out, ARRAY_SUFFIXES, inputs)
    check_output(wanted.plot, PLOT_SUFFIXES, inputs)
    if wanted.plot is not None:
        require_matplotlib()


def _distances(x: Tensor, y: Tensor | None, metric: Metric, wanted: DistancesRequest) -> Tensor:
    """Return the distances before their reduction: (N, M), (N,) where paired, () of whole matrices."""
    if y is None:
        return _fitting(x, x, metric)
    if metric.name in MATRIX_METRICS:
        return matrix_distance(x, y, metric)
    return paired(x, y, metric) if wanted.paired else _fitting(x, y, metric)


def _fitting(x: Tensor, y: Tensor, metric: Metric) -> Tensor:
    try:
        return pairwise(x, y, metric)
    except RuntimeError as error:  # torch has no type of its own for the memory of a CPU
        if "allocate memory" not in str(error):
            raise
        message = f"{len(x):,} x {len(y):,} distances do not fit in memory; compare fewer rows at a time."
        raise click.ClickException(message) from error


def _others(distances: Tensor) -> npt.NDArray[Any]:
    """Return the distances (N, N) between different rows, as one list."""
    square = distances.numpy()
    others: npt.NDArray[Any] = square[~np.eye(len(square), dtype=bool)]
    return others


def _report(answer: Tensor, counted: npt.NDArray[Any], metric: Metric, wanted: DistancesRequest) -> None:
    """Print the shape, how the distances spread, and the answer itself where it is small."""
    facts = [("metric", metric_text(metric))]
    if answer.ndim == 0:
        name = wanted.reduction if wanted.reduction != "none" else "distance"
        show_facts([*facts, (name, f"{answer.item():.6g}")])
        return
    facts.append(("shape", " x ".join(map(str, answer.shape))))
    if counted.size:
        facts += [
            ("min", f"{counted.min():.6g}"),
            ("median", f"{np.median(counted):.6g}"),
            ("mean", f"{counted.mean(dtype=np.float64):.6g}"),
            ("max", f"{counted.max():.6g}"),
        ]
    if counted.size != answer.numel():
        facts.append(("counted", f"{counted.size:,} distances between different rows"))
    show_facts(facts)
    if max(answer.shape) <= _SMALL:
        click.echo()
        show_table(_cells(answer))
    elif wanted.out is None:
        click.echo("\nThe distances themselves: --out FILE.npy, .safetensors or .csv, or --json.")


def _cells(answer: Tensor) -> Sequence[Sequence[str]]:
    return [[f"{value:.6g}" for value in row] for row in answer.reshape(len(answer), -1).tolist()]
