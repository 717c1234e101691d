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

from models.comparing import Comparing, compare
from models.distances import Metric, reduce_distances
from models.histograms import histograms
from models.plots import PLOT_SUFFIXES, plot_distances, require_matplotlib
from service.answers import distances_answer
from service.cli.arrays import ARRAY_SUFFIXES, check_layout, check_output, read_rows, write_arrays
from service.cli.reports import Facts, show_facts, show_json, show_table, wrote
from service.cli.tables import Layout

__all__ = ["DistancesArguments", "compute_distances", "metric_text"]

_SMALL = 10
_PART_ELEMENTS = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class DistancesArguments:
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


def compute_distances(wanted: DistancesArguments) -> None:
    """Read the files, compute, and write or print what was asked for.

    Raises:
        ClickException: a file that cannot be used, or options that do not go together.
        LookalikeError: from `models.distances`.
    """
    how = Comparing(
        name=wanted.metric,
        p=wanted.p,
        paired=wanted.paired,
        normalize=wanted.normalize,
        reduction=wanted.reduction,
    )
    _check(wanted, how)
    layout = Layout(header=wanted.header, label_column=wanted.label_column)
    x = read_rows(wanted.x, ("x", "embeddings"), layout).values
    y = None if wanted.y is None else read_rows(wanted.y, ("y", "embeddings"), layout).values
    with torch.inference_mode():
        distances = compare(x, y, how)
        answer = reduce_distances(distances, how.reduction)
    if wanted.out is not None:
        write_arrays(wanted.out, {"distances": answer})
        wrote(wanted.out, "the distances")
    if wanted.plot is not None:
        _plot(wanted.plot, _counted(distances, with_itself=y is None), how.metric)
    if wanted.as_json:
        show_json(distances_answer(answer, how))
    elif answer.ndim == 0:
        name = how.reduction if how.reduction != "none" else "distance"
        show_facts([("metric", metric_text(how.metric)), (name, f"{answer.item():.6g}")])
    else:
        _report(answer, how.metric, with_itself=y is None, written=wanted.out is not None)


def metric_text(metric: Metric) -> str:
    """Return the metric's name, with its order where it has one."""
    return f"minkowski (p = {metric.p:g})" if metric.name == "minkowski" else metric.name


def _check(wanted: DistancesArguments, how: Comparing) -> None:
    """Refuse what cannot go together before any file is read."""
    how.check_given(y=wanted.y is not None)
    if how.whole and wanted.y is None:
        raise click.ClickException(f"{how.name} compares two whole matrices: give X and Y.")
    if how.whole and wanted.plot is not None:
        raise click.ClickException(f"{how.name} gives one number, of which there is no histogram.")
    inputs = (wanted.x, wanted.y)
    check_layout(inputs, header=wanted.header, label_column=wanted.label_column)
    check_output(wanted.out, ARRAY_SUFFIXES, inputs)
    check_output(wanted.plot, PLOT_SUFFIXES, inputs)
    if wanted.plot is not None:
        require_matplotlib()


def _counted(distances: Tensor, *, with_itself: bool) -> npt.NDArray[Any]:
    """Return a view of the distances that tell how they spread: a row's distance 0 to itself does not."""
    values: npt.NDArray[Any] = distances.numpy()
    if not with_itself:
        return values
    count = len(values)
    # After the first number, each N + 1 of a square end with one of its diagonal.
    return values.reshape(-1)[1:].reshape(count - 1, count + 1)[:, :-1]


def _plot(path: Path, counted: npt.NDArray[Any], metric: Metric) -> None:
    parts = max(1, counted.size // _PART_ELEMENTS)  # of which copies in float64 are made
    (histogram,) = histograms(lambda: ([part] for part in np.array_split(counted, parts)), 1)
    plot_distances(path, histogram, distance=metric_text(metric))
    wrote(path, "the histogram")


def _report(answer: Tensor, metric: Metric, *, with_itself: bool, written: bool) -> None:
    """Print the shape, how the distances spread, and the answer itself where it is small."""
    shape = " x ".join(map(str, answer.shape))
    cells = _cells(answer) if max(answer.shape) <= _SMALL else None
    counted = _counted(answer, with_itself=with_itself)
    facts = [("metric", metric_text(metric)), ("shape", shape), *_spread(answer, counted)]
    if with_itself:
        facts.append(("counted", f"{counted.size:,} distances between different rows"))
    show_facts(facts)
    if cells is not None:
        click.echo()
        show_table(cells)
    elif not written:
        click.echo("\nThe distances themselves: --out FILE.npy, .safetensors or .csv, or --json.")


def _spread(answer: Tensor, counted: npt.NDArray[Any]) -> Facts:
    """Return the least, median, mean and largest of those that count; the answer is left in another order.

    The answer may fill most of the memory, so the median is found in it, and not in a copy.
    """
    size = counted.size
    if not size:
        return []
    low, mean, high = counted.min(), counted.mean(dtype=np.float64), counted.max()
    values = answer.numpy()
    if size != values.size:
        np.fill_diagonal(values, np.inf)  # these are then the last ones
    middle = [(size - 1) // 2, size // 2]
    ordered = values.reshape(-1)
    ordered.partition(middle)
    numbers = {"min": low, "median": ordered[middle].mean(), "mean": mean, "max": high}
    return [(name, f"{number:.6g}") for name, number in numbers.items()]


def _cells(answer: Tensor) -> Sequence[Sequence[str]]:
    return [[f"{value:.6g}" for value in row] for row in answer.reshape(len(answer), -1).tolist()]
