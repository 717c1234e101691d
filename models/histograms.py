"""How distances spread: histograms of more of them than fit in memory, counted tile by tile."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from models.distances import Metric, pairwise
from models.triplets import Labels, encode_labels

__all__ = ["Histogram", "batch_histograms", "histograms"]

_BINS = 60
_TILE_ELEMENTS = 2**22
_NEGLIGIBLE_SPREAD = 1e-6

Values = Tensor | npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers counted in bins of one width.

    Attributes:
        edges: (bins + 1,) float64, ascending; a bin holds its lower edge, the last one both of its edges.
        counts: (bins,) int64.
        mean: of the numbers themselves; NaN where there are none.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    mean: float

    @property
    def total(self) -> int:
        """Return how many numbers were counted."""
        return int(self.counts.sum())


def batch_histograms(
    embeddings: Tensor,
    labels: Labels,
    metric: Metric | str = "euclidean",
    *,
    bins: int = _BINS,
    tile_elements: int = _TILE_ELEMENTS,
) -> tuple[Histogram, Histogram]:
    """Return the histograms of d_ap and d_an: of all positive and of all negative pairs of a batch.

    Pairs are ordered, (anchor, other), as triplets have them: a symmetric metric has each distance twice.
    Both histograms have the same edges, from the smallest to the largest distance. The distances are
    computed twice, and no more than `tile_elements` of them are held at a time (but those of one anchor).

    Args:
        embeddings: (N, D), any real dtype; not modified.
        labels: N hashables, or an integer tensor (N,).
        metric: a row metric.
        bins: how many.
        tile_elements: how many distances to hold.

    Raises:
        InputError: as `models.distances.pairwise`; ShapeError too for another number of labels.
    """
    x = embeddings.detach()
    codes = encode_labels(labels, expected=len(x)).cpu().numpy()
    step = max(1, tile_elements // max(1, len(x)))

    def tiles() -> Iterator[tuple[Values, Values]]:
        for start in range(0, len(x), step):
            # numpy selects by a mask many times faster than torch does.
            distances = pairwise(x[start : start + step], x, metric).cpu().numpy()
            positive = codes[start : start + step, None] == codes
            negative = ~positive
            anchors = np.arange(len(distances))
            positive[anchors, start + anchors] = False  # no anchor is its own positive
            yield distances[positive], distances[negative]

    d_ap, d_an = histograms(tiles, 2, bins=bins)
    return d_ap, d_an


def histograms(
    tiles: Callable[[], Iterable[Sequence[Values]]], series: int, *, bins: int = _BINS
) -> list[Histogram]:
    """Return the histograms of several series of numbers >= 0 on common edges.

    Args:
        tiles: called twice, it must yield the same numbers both times: some of each series at a time.
        series: how many series there are.
        bins: how many bins.
    """
    low, high = math.inf, 0.0
    sums, totals = [0.0] * series, [0] * series
    for tile in tiles():
        for at, part in enumerate(map(_float64, tile)):
            if part.size:
                low, high = min(low, part.min()), max(high, part.max())
                sums[at] += part.sum()
                totals[at] += part.size
    extent = _extent(low, high)
    counts = [np.zeros(bins, dtype=np.int64) for _ in range(series)]
    for tile in tiles():
        for at, part in enumerate(map(_float64, tile)):
            counts[at] += np.histogram(part, bins, extent)[0]
    edges = np.histogram_bin_edges(np.empty(0), bins, extent)
    means = [total / n if n else math.nan for total, n in zip(sums, totals, strict=True)]
    return [Histogram(edges, count, mean) for count, mean in zip(counts, means, strict=True)]


def _float64(values: Values) -> npt.NDArray[np.float64]:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return array.astype(np.float64, copy=False).ravel()


def _extent(low: float, high: float) -> tuple[float, float]:
    """Return where the bins begin and end: from 0 where the numbers are too much alike to divide."""
    if high < np.finfo(np.float64).tiny:
        return 0.0, 1.0
    return (0.0, high) if high - low <= _NEGLIGIBLE_SPREAD * high else (low, high)
