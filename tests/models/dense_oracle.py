"""The losses of a large batch once more, in float64 NumPy: every anchor's triplets as one plain table.

It shares nothing with the code under test: distances by differences, masks instead of sorted forms, and the
gradient by the chain rule from the slopes of the distances.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]


class Answer(NamedTuple):
    """The summed cost, the classes, dL/dx of the sum, and the rows of each triplet, (T, 3)."""

    total: float
    easy: int
    semi_hard: int
    hard: int
    gradient: Floats
    triplets: Integers

    @property
    def formed(self) -> int:
        return self.easy + self.semi_hard + self.hard


def distance_matrix(x: Floats, name: str) -> Floats:
    """Return (N, N), read-only: x - x[a] is formed for one anchor at a time, and once for equal x."""
    return _distance_matrix(x.tobytes(), x.shape, x.dtype.str, name)


@lru_cache(maxsize=16)
def _distance_matrix(numbers: bytes, shape: tuple[int, ...], dtype: str, name: str) -> Floats:
    x: Floats = np.frombuffer(numbers, dtype).reshape(shape)
    if name == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    fold: dict[str, Callable[[Floats], Floats]] = {
        "euclidean": lambda gaps: np.sqrt((gaps**2).sum(1)),
        "squared_euclidean": lambda gaps: (gaps**2).sum(1),
        "cosine": lambda gaps: (gaps**2).sum(1) / 2,
        "manhattan": lambda gaps: np.abs(gaps).sum(1),
        "chebyshev": lambda gaps: np.abs(gaps).max(1),
    }
    d = np.stack([fold[name](x - row) for row in x])
    d.flags.writeable = False
    return d


def batch(x: Floats, labels: Integers, mining: str, margin: float | None, name: str = "euclidean") -> Answer:
    """Return the sum over the triplets that the mining forms; margin None is the soft one."""
    d = distance_matrix(x, name)
    formed = []
    for a, positives, negatives in _partners(labels):
        p, n = _formed(d[a], positives, negatives, mining)
        formed.append(np.stack([np.full_like(p, a), p, n], axis=1))
    triplets = np.concatenate(formed) if formed else np.zeros((0, 3), np.int64)
    return of_triplets(x, triplets, margin, name, d)


def of_triplets(
    x: Floats, triplets: Integers, margin: float | None, name: str, d: Floats | None = None
) -> Answer:
    """Return the sum over triplets (T, 3) of rows."""
    d = distance_matrix(x, name) if d is None else d
    a, p, n = triplets.T
    d_ap, d_an = d[a, p], d[a, n]
    cost, slope = _cost(d_ap, d_an, margin)
    cells = len(x) * len(x)  # of dL/dd, flat: bincount adds where a pair stands in several triplets
    slopes = np.bincount(a * len(x) + p, slope, cells) - np.bincount(a * len(x) + n, slope, cells)
    easy, farther = d_an >= d_ap + (margin or 0.0), d_an > d_ap
    return Answer(
        total=float(cost.sum()),
        easy=int(easy.sum()),
        semi_hard=int((~easy & farther).sum()),
        hard=int((~easy & ~farther).sum()),
        gradient=_gradient(x, slopes.astype(np.float64).reshape(d.shape), d, name),
        triplets=triplets,
    )


def clear_margin(x: Floats, labels: Integers, name: str, around: float) -> float:
    """Return a margin near `around` that no d_an - d_ap comes close to: rounding moves no triplet over it."""
    d = distance_matrix(x, name)
    gaps = np.concatenate([(d[a, n] - d[a, p][:, None]).ravel() for a, p, n in _partners(labels)])
    near = np.sort(gaps[abs(gaps - around) < 0.1 * around])
    widest = int(np.diff(near).argmax())
    return float(near[widest : widest + 2].mean())


def near_ties(x: Floats, labels: Integers, name: str, tolerance: float) -> int:
    """Return how many valid triplets have d_an so close to d_ap that rounding decides between the classes."""
    d = distance_matrix(x, name)
    return sum(int((abs(d[a, n] - d[a, p][:, None]) <= tolerance).sum()) for a, p, n in _partners(labels))


def _partners(labels: Integers) -> Iterator[tuple[int, Integers, Integers]]:
    """Yield the anchors that take part, with their positives and negatives."""
    for a, label in enumerate(labels):
        same = labels == label
        negatives = np.flatnonzero(~same)
        same[a] = False
        if same.any() and len(negatives):
            yield a, np.flatnonzero(same), negatives


def _formed(row: Floats, positives: Integers, negatives: Integers, mining: str) -> tuple[Integers, Integers]:
    """Return the positive and the negative of each triplet of one anchor; the first of equals wins."""
    if mining == "all":
        return np.repeat(positives, len(negatives)), np.tile(negatives, len(positives))
    if mining == "hard":
        return positives[[row[positives].argmax()]], negatives[[row[negatives].argmin()]]
    found = []
    for p in positives:
        beyond = negatives[row[negatives] > row[p]]
        found.append(beyond[row[beyond].argmin()] if len(beyond) else negatives[row[negatives].argmax()])
    return positives, np.array(found)


def _cost(d_ap: Floats, d_an: Floats, margin: float | None) -> tuple[Floats, Floats]:
    if margin is None:
        gaps = d_ap - d_an
        return np.logaddexp(0.0, gaps), np.exp(-np.logaddexp(0.0, -gaps))
    costs = d_ap + margin - d_an
    return np.maximum(costs, 0.0), (costs > 0).astype(float)


def _gradient(x: Floats, slopes: Floats, d: Floats, name: str) -> Floats:
    """Return dL/dx (N, D) from dL/dd (N, N); the gradient of a distance of 0 is 0."""
    if name in {"manhattan", "chebyshev"}:
        return _gradient_by_signs(x, slopes, d, name)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    rows = x / lengths if name == "cosine" else x
    pulls = {"euclidean": slopes / np.where(d > 0, d, np.inf), "squared_euclidean": 2 * slopes}
    pull = pulls.get(name, slopes)
    pull = pull + pull.T  # x_a is pulled along x_a - x_j by the pairs (a, j) and (j, a)
    gradient: Floats = pull.sum(1, keepdims=True) * rows - pull @ rows
    if name == "cosine":  # along its length a row changes nothing
        gradient = (gradient - (gradient * rows).sum(1, keepdims=True) * rows) / lengths
    return gradient


def _gradient_by_signs(x: Floats, slopes: Floats, d: Floats, name: str) -> Floats:
    gradient = np.zeros_like(x)
    for a, row in enumerate(x):
        signs = np.sign(row - x)
        if name == "chebyshev":
            signs *= np.abs(row - x) == d[a][:, None]
        pull = slopes[a][:, None] * signs
        gradient[a] += pull.sum(0)
        gradient -= pull
    return gradient
