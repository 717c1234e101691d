"""Triplets of a labelled batch: labels, classes of triplets, and the miners.

A triplet (a, p, n) is valid where a != p, label[a] == label[p] and label[a] != label[n]. An anchor without a
positive, or without a negative, takes no part. With t = fl(d_ap + margin) a valid triplet is easy where
d_an >= t; otherwise it is active, semi-hard where d_an > d_ap, else hard. Ties go to the lowest index.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.errors import OptionError, ShapeError
from models.formulas import Metric
from models.tiles import distances_between

__all__ = [
    "MINERS",
    "Labels",
    "PairBlock",
    "Triplets",
    "count_classes",
    "distance_tiles",
    "encode_labels",
    "mine_hard",
    "mine_semi_hard",
    "pair_blocks",
    "taking_part",
]

Labels = Sequence[Hashable] | Tensor

_TILE_ELEMENTS = 2**20


class Triplets(NamedTuple):
    """Rows of a batch: anchor, positive, negative, (T,) int64 each."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


class PairBlock(NamedTuple):
    """Some positive pairs, each beside all rows of the batch as negatives.

    Attributes:
        anchor: (C,) int64, ascending; then `positive`, (C,), ascending.
        d_ap: (C, 1).
        d_an: (C, N), the anchor's distances to every row.
        negative: (C, N) bool, which of them are negatives.
    """

    anchor: Tensor
    positive: Tensor
    d_ap: Tensor
    d_an: Tensor
    negative: Tensor


def encode_labels(labels: Labels, expected: int | None = None) -> Tensor:
    """Return dense codes: equal labels get equal codes, from 0 to the number of labels - 1.

    Args:
        labels: hashables, or a 1-D integer tensor.
        expected: how many there must be.

    Returns:
        (N,) int64, on the labels' device.

    Raises:
        ShapeError: another number of labels than expected, or a tensor that is not 1-D.
        OptionError: labels that cannot be compared: floating point tensors, NaN, unhashable objects.

    Example:
        >>> encode_labels(["ann", "bob", "ann"]).tolist()
        [0, 1, 0]
    """
    if isinstance(labels, Tensor) and labels.ndim != 1:
        message = f"labels must have 1 dimension, not {labels.ndim}."
        raise ShapeError(message, argument="labels", expected=1, got=labels.ndim)
    if expected is not None and len(labels) != expected:
        message = f"There must be one label for each row: {expected} rows, {len(labels)} labels."
        raise ShapeError(message, argument="labels", expected=expected, got=len(labels))
    if isinstance(labels, Tensor):
        if labels.is_floating_point() or labels.is_complex():
            message = f"labels must be integers or hashables, not a tensor of {labels.dtype}."
            raise OptionError(message, argument="labels")
        _, codes_of_rows = torch.unique(labels, return_inverse=True)
        return torch.as_tensor(codes_of_rows)
    codes: dict[Hashable, int] = {}
    return torch.tensor(
        [codes.setdefault(_key(label, row), len(codes)) for row, label in enumerate(labels)],
        dtype=torch.int64,
    )


def taking_part(codes: Tensor) -> Tensor:
    """Return (N,) bool: the anchors that have a positive and a negative."""
    sizes = torch.bincount(codes)[codes]
    return (sizes > 1) & (sizes < len(codes))


def count_classes(d_ap: Tensor, d_an: Tensor, margin: float, valid: Tensor | None = None) -> Tensor:
    """Count the easy, semi-hard and hard triplets.

    Args:
        d_ap: distances of the positives.
        d_an: distances of the negatives; the two shapes broadcast.
        margin: >= 0; 0 stands for the soft margin.
        valid: which triplets to count; all without it.

    Returns:
        (3,) int64.
    """
    easy = d_an >= d_ap + margin
    farther = d_an > d_ap
    classes = (easy, ~easy & farther, ~easy & ~farther)
    return torch.stack([(members if valid is None else members & valid).sum() for members in classes])


def distance_tiles(x: Tensor, metric: Metric) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of anchors and their distances to every row, (R, N); x is prepared."""
    height = max(1, _TILE_ELEMENTS // max(1, len(x)))
    for start in range(0, len(x), height):
        rows = slice(start, min(start + height, len(x)))
        yield rows, distances_between(x[rows], x, metric)


def pair_blocks(distances: Tensor, codes: Tensor, rows: slice) -> Iterator[PairBlock]:
    """Yield the positive pairs of these anchors, those that take part, in blocks of bounded size.

    Args:
        distances: (R, N), of the anchors `rows` to every row.
        codes: (N,), from `encode_labels`.
        rows: the anchors.
    """
    positive = _positives(codes, rows) & taking_part(codes)[rows].unsqueeze(1)
    length = max(1, _TILE_ELEMENTS // len(codes))
    for pairs in torch.split(positive.nonzero(), length):
        local, others = pairs.unbind(1)
        anchors = local + rows.start
        d_an = distances[local]
        negative = codes[anchors].unsqueeze(1) != codes
        yield PairBlock(anchors, others, d_an.gather(1, others.unsqueeze(1)), d_an, negative)


def mine_hard(x: Tensor, codes: Tensor, metric: Metric) -> Triplets:
    """Mine batch-hard triplets: for each anchor the farthest positive and the nearest negative.

    Args:
        x: (N, D), prepared.
        codes: (N,), from `encode_labels`.
        metric: a row metric.

    Returns:
        One triplet for each anchor that takes part, in anchor order.

    Source: Hermans et al. 2017, equation 5.
    """
    anchors = taking_part(codes).nonzero().squeeze(1)
    positives, negatives = [anchors[:0]], [anchors[:0]]
    with torch.no_grad():
        for rows, distances in distance_tiles(x, metric):
            positive = _positives(codes, rows)
            negative = codes[rows].unsqueeze(1) != codes
            positives.append(distances.masked_fill(~positive, -torch.inf).argmax(1))
            negatives.append(distances.masked_fill(~negative, torch.inf).argmin(1))
    return Triplets(anchors, torch.cat(positives)[anchors], torch.cat(negatives)[anchors])


def mine_semi_hard(x: Tensor, codes: Tensor, metric: Metric) -> Triplets:
    """Mine semi-hard triplets: for each positive pair the nearest negative with d_an > d_ap.

    Where none is farther than the positive, the farthest negative stands in. There is no upper bound.

    Args:
        x: (N, D), prepared.
        codes: (N,), from `encode_labels`.
        metric: a row metric.

    Returns:
        One triplet for each positive pair of the anchors that take part, in order of anchor, then positive.

    Source: Schroff et al. 2015, section 3.2, as TensorFlow Addons' `triplet_semihard_loss` implements it.
    """
    empty = codes[:0]
    mined = [Triplets(empty, empty, empty)]
    with torch.no_grad():
        for rows, distances in distance_tiles(x, metric):
            for anchor, positive, d_ap, d_an, negative in pair_blocks(distances, codes, rows):
                beyond = negative & (d_an > d_ap)
                nearest = d_an.masked_fill(~beyond, torch.inf).argmin(1)
                farthest = d_an.masked_fill(~negative, -torch.inf).argmax(1)
                mined.append(Triplets(anchor, positive, nearest.where(beyond.any(1), farthest)))
    return Triplets(*(torch.cat(parts) for parts in zip(*mined, strict=True)))


MINERS: Mapping[str, Callable[[Tensor, Tensor, Metric], Triplets]] = {
    "hard": mine_hard,
    "semi_hard": mine_semi_hard,
}


def _positives(codes: Tensor, rows: slice) -> Tensor:
    """Return (R, N) bool: the same label, and not the anchor itself."""
    same = codes[rows].unsqueeze(1) == codes
    same.diagonal(rows.start).fill_(False)
    return same


def _key(label: Hashable, row: int) -> Hashable:
    if isinstance(label, Tensor):  # hashed by identity: equal ones would differ
        label = label.item()
    if not isinstance(label, Hashable):
        message = (
            f"Label {row} is a {type(label).__name__}, which cannot be compared; use strings or integers."
        )
        raise OptionError(message, argument="labels", row=row)
    if label != label:  # noqa: PLR0124 - true of NaN alone
        raise OptionError(f"Label {row} is NaN, which equals nothing.", argument="labels", row=row)
    return label
