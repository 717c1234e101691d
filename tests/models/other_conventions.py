"""What other libraries document that they compute, in plain loops over a distance matrix."""

import math
from collections.abc import Callable, Hashable, Sequence

Matrix = Sequence[Sequence[float]]
Labels = Sequence[Hashable]


def others(labels: Labels, a: int) -> list[int]:
    return [i for i in range(len(labels)) if i != a and labels[i] == labels[a]]


def negatives(labels: Labels, a: int) -> list[int]:
    return [i for i in range(len(labels)) if labels[i] != labels[a]]


def cost(d_ap: float, d_an: float, margin: float | None) -> float:
    """Return the hinge, or ln(1 + exp(d_ap - d_an)) without a margin."""
    return math.log1p(math.exp(d_ap - d_an)) if margin is None else max(d_ap - d_an + margin, 0.0)


def addons_semi_hard(d: Matrix, labels: Labels, margin: float) -> float:
    """TensorFlow Addons' `triplet_semihard_loss`: the mean over all ordered positive pairs.

    Of an anchor without a negative, the smallest number of its row (its distance to itself) stands in.
    """
    costs = []
    for a, row in enumerate(d):
        far = [row[n] for n in negatives(labels, a)]
        for p in others(labels, a):
            beyond = [distance for distance in far if distance > row[p]]
            negative = min(beyond) if beyond else max(far, default=min(row))
            costs.append(cost(row[p], negative, margin))
    return sum(costs) / len(costs) if costs else math.nan


def addons_hard(d: Matrix, labels: Labels, margin: float | None) -> float:
    """TensorFlow Addons' `triplet_hard_loss`: the mean over all anchors.

    Without a positive the smallest number of the row stands in, without a negative its largest.
    """
    costs = []
    for a, row in enumerate(d):
        positive = max((row[p] for p in others(labels, a)), default=min(row))
        negative = min((row[n] for n in negatives(labels, a)), default=max(row))
        costs.append(cost(positive, negative, margin))
    return sum(costs) / len(costs)


def reid_hard(d: Matrix, labels: Labels, margin: float | None, floor: float = 1e-6) -> float:
    """Return torchreid's `TripletLoss`: the anchor among its positives, the mean over all anchors.

    Both compute distances that are never below `floor`. Without a negative torchreid raises.
    """
    costs = []
    for a, row in enumerate(d):
        positive = max(max(row[p], floor) for p in [a, *others(labels, a)])
        costs.append(cost(positive, min(max(row[n], floor) for n in negatives(labels, a)), margin))
    return sum(costs) / len(costs)


def fast_reid_hard(d: Matrix, labels: Labels, margin: float | None) -> float:
    """Return fast-reid's, which lays all positives of the batch end to end and cuts them into N equal parts.

    The parts are the anchors' own where every label has as many rows; elsewhere they are a mixture.
    """
    n = len(labels)
    positive = _extremes([d[a][i] for a in range(n) for i in range(n) if labels[i] == labels[a]], n, max)
    negative = _extremes([d[a][i] for a in range(n) for i in negatives(labels, a)], n, min)
    costs = [cost(d_ap, d_an, margin) for d_ap, d_an in zip(positive, negative, strict=True)]
    return sum(costs) / n


def _extremes(values: list[float], parts: int, best: Callable[[list[float]], float]) -> list[float]:
    if len(values) % parts:
        raise ValueError("The batch cannot be cut into equal parts.")
    length = len(values) // parts
    return [best(values[start : start + length]) for start in range(0, len(values), length)]
