"""The numeric contract once more, as slow and plain as it can be said: Python floats and loops."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Row = Sequence[float]
Matrix = Sequence[Row]


class Losses(NamedTuple):
    triplets: list[tuple[int, int, int]]
    costs: list[float]
    easy: int
    semi_hard: int
    hard: int


def _norm(p: float) -> Callable[[Row, Row], float]:
    def distance(x: Row, y: Row) -> float:
        gaps = [abs(a - b) for a, b in zip(x, y, strict=True)]
        if math.isinf(p):
            return max(gaps)
        return float(sum(gap**p for gap in gaps) ** (1 / p))

    return distance


def _squared(x: Row, y: Row) -> float:
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def _cosine(x: Row, y: Row) -> float:
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return 1 - dot / math.sqrt(sum(a * a for a in x)) / math.sqrt(sum(b * b for b in y))


def _hamming(x: Row, y: Row) -> float:
    return sum(a != b for a, b in zip(x, y, strict=True)) / len(x)


def _kl(p: Row, q: Row) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def _cross_entropy(p: Row, q: Row) -> float:
    return -sum(a * math.log(b) for a, b in zip(p, q, strict=True) if a > 0)


DISTANCES: dict[str, Callable[[Row, Row], float]] = {
    "euclidean": _norm(2),
    "squared_euclidean": _squared,
    "cosine": _cosine,
    "manhattan": _norm(1),
    "chebyshev": _norm(math.inf),
    "minkowski": _norm(3),
    "hamming": _hamming,
    "kl_divergence": _kl,
    "cross_entropy": _cross_entropy,
}


def matrix(x: Matrix, y: Matrix, distance: Callable[[Row, Row], float]) -> list[list[float]]:
    return [[distance(a, b) for b in y] for a in x]


def batch_losses(
    d: Matrix, labels: Sequence[Hashable], mining: str, margin: float | None, added: Sequence[float] = ()
) -> Losses:
    """Loop over the triplets of a distance matrix; margin None is the soft one.

    `added` replaces d_ap + margin, looked up by a * N + p, where that sum must round as float32 does.
    """
    formed = {"all": _all, "hard": _hard, "semi_hard": _semi_hard}[mining](d, labels)
    costs, classes = [], {"easy": 0, "semi_hard": 0, "hard": 0}
    for a, p, n in formed:
        t = added[a * len(d) + p] if added else d[a][p] + (margin or 0.0)
        costs.append(math.log1p(math.exp(d[a][p] - d[a][n])) if margin is None else max(t - d[a][n], 0.0))
        classes["easy" if d[a][n] >= t else "semi_hard" if d[a][n] > d[a][p] else "hard"] += 1
    return Losses(formed, costs, **classes)


def folded(losses: Losses, reduction: str, margin: float | None) -> float:
    if not losses.costs:
        return 0.0
    active = len(losses.costs) if margin is None else losses.semi_hard + losses.hard
    count = {"sum": 1, "mean": len(losses.costs), "mean_active": max(1, active)}[reduction]
    return math.fsum(losses.costs) / count


def _partners(labels: Sequence[Hashable], a: int) -> tuple[list[int], list[int]]:
    positives = [i for i in range(len(labels)) if i != a and labels[i] == labels[a]]
    return positives, [i for i in range(len(labels)) if labels[i] != labels[a]]


def _all(d: Matrix, labels: Sequence[Hashable]) -> list[tuple[int, int, int]]:
    formed = []
    for a in range(len(labels)):
        positives, negatives = _partners(labels, a)
        formed += [(a, p, n) for p in positives for n in negatives]
    return formed


def _hard(d: Matrix, labels: Sequence[Hashable]) -> list[tuple[int, int, int]]:
    formed = []
    for a in range(len(labels)):
        positives, negatives = _partners(labels, a)
        if positives and negatives:
            p = max(positives, key=lambda i: (d[a][i], -i))
            formed.append((a, p, min(negatives, key=lambda i: (d[a][i], i))))
    return formed


def _semi_hard(d: Matrix, labels: Sequence[Hashable]) -> list[tuple[int, int, int]]:
    formed = []
    for a in range(len(labels)):
        positives, negatives = _partners(labels, a)
        for p in positives if negatives else []:
            beyond = [i for i in negatives if d[a][i] > d[a][p]]
            if beyond:
                formed.append((a, p, min(beyond, key=lambda i: (d[a][i], i))))
            else:
                formed.append((a, p, max(negatives, key=lambda i: (d[a][i], -i))))
    return formed


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record the number of elements of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                # A broadcast view costs nothing: what counts is the storage.
                storage = value.untyped_storage().nbytes() // value.element_size()
                self.elements = max(self.elements, storage)
        return result
