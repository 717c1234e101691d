"""How the distances of a batch spread: quantiles of d_ap and d_an, and whether all rows point one way."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from models.distances import Metric, l2_normalize, pairwise

__all__ = ["QUANTILES", "Spread", "measure_spread"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_PAIRS = 2**20  # distances looked at: all of a batch of 1,024; more would make a logged step a slow one


@dataclass(frozen=True, slots=True)
class Spread:
    """The distances of a batch in a few numbers.

    Attributes:
        d_ap: the `QUANTILES` of the distances of positive pairs; NaN where there is no such pair.
        d_an: those of negative pairs.
        cosine: the mean cosine of two rows, each row with itself among them; near 1 all point one way.
    """

    d_ap: tuple[float, ...]
    d_an: tuple[float, ...]
    cosine: float

    @property
    def medians(self) -> tuple[float, float]:
        """Return the medians of d_ap and of d_an."""
        middle = QUANTILES.index(0.5)
        return self.d_ap[middle], self.d_an[middle]


def measure_spread(
    embeddings: Tensor,
    labels: Tensor,
    metric: Metric | str = "euclidean",
    *,
    normalize: bool = False,
    pairs: int = _PAIRS,
) -> Spread:
    """Return how the distances of a labelled batch spread.

    Pairs are ordered, (anchor, other), as triplets have them. Quantiles lie on the line between the two
    nearest values. No random generator of the caller's is touched.

    Args:
        embeddings: (N, D), any real dtype; not modified.
        labels: (N,) integers, same device.
        metric: a row metric, as the loss has it.
        normalize: bring a copy of the rows to length 1 first, as the loss does.
        pairs: about how many to look at. Where there are more, anchors are left out: for a batch of one
            size always the same rows.

    Raises:
        InputError: as `models.distances.pairwise`.
    """
    embeddings = embeddings.detach()
    rows = l2_normalize(embeddings) if normalize else embeddings
    anchors = _sample(len(rows), pairs).to(rows.device)
    # numpy selects by a mask many times faster than torch does.
    distances = pairwise(rows[anchors], rows, metric).cpu().numpy()
    positive = (labels[anchors].unsqueeze(1) == labels).cpu().numpy()
    negative = ~positive
    positive[np.arange(len(anchors)), anchors.cpu().numpy()] = False  # no anchor is its own positive
    directions = F.normalize(embeddings.float())
    return Spread(
        d_ap=_quantiles(distances[positive]),
        d_an=_quantiles(distances[negative]),
        cosine=float(directions.mean(dim=0).square().sum()),  # the mean over all pairs of rows
    )


def _sample(count: int, pairs: int) -> Tensor:
    """Return which rows are anchors, in order."""
    anchors = max(1, pairs // max(1, count))
    if anchors >= count:
        return torch.arange(count)
    # Shuffled: every n-th row would meet the same picture of each identity in a P x K batch.
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:anchors].sort().values


def _quantiles(distances: npt.NDArray[np.floating]) -> tuple[float, ...]:
    if distances.size == 0:
        return (math.nan,) * len(QUANTILES)
    return tuple(np.quantile(distances.astype(np.float64), QUANTILES).tolist())
