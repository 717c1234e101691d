"""Triplets of a labelled batch: labels, classes of triplets, and the miners.

A triplet (a, p, n) is valid where a != p, label[a] == label[p] and label[a] != label[n]. An anchor without a
positive, or without a negative, takes no part. With t = fl(d_ap + margin) a valid triplet is easy where
d_an >= t; otherwise it is active, semi-hard where d_an > d_ap, else hard. Ties go to the lowest index.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import NamedTuple

import torch
from torch import Tensor

from models.errors import OptionError, ShapeError
from models.interruption import checkpoint
from models.tiles import Strips

__all__ = [
    "MINERS",
    "Groups",
    "Labels",
    "Mined",
    "Triplets",
    "count_classes",
    "encode_labels",
    "label_tensor",
    "mine_hard",
    "mine_semi_hard",
    "negatives_only",
]

Labels = Sequence[Hashable] | Tensor

# Positives of an anchor from which on sorting its negatives beats a pass over them for each (decision 6).
_SORTING_PAYS = 64


class Triplets(NamedTuple):
    """Rows of a batch: anchor, positive, negative, (T,) int64 each."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


class Mined(NamedTuple):
    """Triplets beside their distances: `triplets`, and `d_ap` and `d_an`, (T,) each."""

    triplets: Triplets
    d_ap: Tensor
    d_an: Tensor


def label_tensor(labels: Labels, expected: int | None = None) -> Tensor:
    """Return labels that are equal where the given ones are: those of a tensor, codes of other hashables.

    Args:
        labels: hashables, or a 1-D integer tensor.
        expected: how many there must be.

    Returns:
        (N,) integers, on the labels' device.

    Raises:
        ShapeError: another number of labels than expected, or a tensor that is not 1-D.
        OptionError: labels that cannot be compared: floating point tensors, NaN, unhashable objects.
    """
    if not isinstance(labels, Sized):
        message = f"labels must be a sequence or an integer tensor, not {labels!r}."
        raise OptionError(message, argument="labels")
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
        return labels
    codes: dict[Hashable, int] = {}
    return torch.tensor(
        [codes.setdefault(_key(label, row), len(codes)) for row, label in enumerate(labels)],
        dtype=torch.int64,
    )


def encode_labels(labels: Labels, expected: int | None = None) -> Tensor:
    """Return dense codes: equal labels get equal codes, from 0 to the number of labels - 1.

    Args:
        labels: hashables, or a 1-D integer tensor.
        expected: how many there must be.

    Returns:
        (N,) int64, on the labels' device.

    Raises:
        InputError: as `label_tensor`.

    Example:
        >>> encode_labels(["ann", "bob", "ann"]).tolist()
        [0, 1, 0]
    """
    tensor = label_tensor(labels, expected)
    if not isinstance(labels, Tensor):
        return tensor
    _, codes_of_rows = torch.unique(tensor, return_inverse=True)
    return torch.as_tensor(codes_of_rows)


class Groups:
    """The rows of a batch by label.

    Attributes:
        codes: (N,) int64, from `encode_labels`.
        sizes: (N,) int64, of each row's label.
        taking_part: (N,) bool: the anchors that have a positive and a negative.
    """

    def __init__(self, codes: Tensor) -> None:
        self.codes = codes
        self._order = codes.argsort(stable=True)  # label by label, in each by row
        counts = torch.bincount(codes)
        self.sizes = counts[codes]
        self.taking_part = (self.sizes > 1) & (self.sizes < len(codes))
        self._starts = (counts.cumsum(0) - counts)[codes]
        places = torch.empty_like(codes)
        places[self._order] = torch.arange(len(codes), device=codes.device)
        self._ranks = places - self._starts  # of a row among those of its label

    def strips_taking_part(self, strips: Iterable[slice]) -> Iterator[slice]:
        """Yield those strips in which some anchor takes part."""
        everyone = bool(self.taking_part.all())
        for rows in strips:
            if everyone or self.taking_part[rows].any():
                yield rows

    @property
    def valid_triplets(self) -> int:
        """Return the number of valid triplets of the batch."""
        return int(((self.sizes - 1) * (len(self.codes) - self.sizes)).sum())

    @property
    def positive_pairs(self) -> int:
        """Return the number of positive pairs of the anchors that take part."""
        return int((self.sizes - 1)[self.taking_part].sum())

    def positives(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return the positives of these anchors, in row order.

        Returns:
            (R, P) int64, where P is the largest number of positives; in the places beyond an anchor's own
            number stands the anchor. And (R, P) bool: which places are positives, of anchors that take part.
        """
        sizes, starts = self.sizes[rows].unsqueeze(1), self._starts[rows].unsqueeze(1)
        places = torch.arange(int(sizes.max()) - 1, device=sizes.device).expand(len(sizes), -1)
        anchors = torch.arange(rows.start, rows.stop, device=sizes.device).unsqueeze(1)
        present = places < sizes - 1
        skipping = places + (places >= self._ranks[rows].unsqueeze(1))
        others = self._order[starts + skipping.clamp(max=sizes - 1)]
        return others.where(present, anchors), present & self.taking_part[rows].unsqueeze(1)


def count_classes(d_ap: Tensor, d_an: Tensor, margin: float) -> Tensor:
    """Count the easy, semi-hard and hard triplets.

    Args:
        d_ap: (T,), distances of the positives.
        d_an: (T,), distances of the negatives.
        margin: >= 0; 0 stands for the soft margin.

    Returns:
        (3,) int64.
    """
    easy = d_an >= d_ap + margin
    farther = d_an > d_ap
    return torch.stack([members.sum() for members in (easy, ~easy & farther, ~easy & ~farther)])


def negatives_only(distances: Tensor, positives: Tensor, rows: slice, fill: float) -> Tensor:
    """Write `fill` over a strip's distances (R, N) to the anchors themselves and to their positives."""
    distances.diagonal(rows.start).fill_(fill)
    return distances.scatter_(1, positives, fill)


def mine_hard(strips: Strips, groups: Groups) -> Mined:
    """Mine batch-hard triplets: for each anchor the farthest positive and the nearest negative.

    Returns:
        One triplet for each anchor that takes part, in anchor order.

    Source: Hermans et al. 2017, equation 5.
    """
    mined = [_no_triplets(strips, groups)]
    for rows in groups.strips_taking_part(strips):
        anchors = groups.taking_part[rows].nonzero().squeeze(1)
        distances = strips.distances(rows)
        positives, present = groups.positives(rows)
        d_ap, farthest = distances.gather(1, positives).masked_fill_(~present, -torch.inf).max(1)
        d_an, nearest = negatives_only(distances, positives, rows, torch.inf).min(1)
        farthest = positives.gather(1, farthest.unsqueeze(1)).squeeze(1)
        triplets = Triplets(anchors + rows.start, farthest[anchors], nearest[anchors])
        mined.append(Mined(triplets, d_ap[anchors], d_an[anchors]))
    return _joined(mined)


def mine_semi_hard(strips: Strips, groups: Groups) -> Mined:
    """Mine semi-hard triplets: for each positive pair the nearest negative with d_an > d_ap.

    Where none is farther than the positive, the farthest negative stands in. There is no upper bound.

    Returns:
        One triplet for each positive pair of the anchors that take part, in order of anchor, then positive.

    Source: Schroff et al. 2015, section 3.2, as TensorFlow Addons' `triplet_semihard_loss` implements it.
    """
    mined = [_no_triplets(strips, groups)]
    for rows in groups.strips_taking_part(strips):
        distances = strips.distances(rows)
        positives, present = groups.positives(rows)
        d_ap = distances.gather(1, positives)
        negatives_only(distances, positives, rows, torch.inf)
        search = _beyond_by_sorting if d_ap.shape[1] > _SORTING_PAYS else _beyond_by_passes
        nearest, d_an = search(distances, d_ap)
        beyond = torch.isfinite(d_an)
        if not (beyond | ~present).all():
            d_far, farthest = negatives_only(distances, positives, rows, -torch.inf).max(1, keepdim=True)
            nearest, d_an = nearest.where(beyond, farthest), d_an.where(beyond, d_far)
        anchors = torch.arange(rows.start, rows.stop, device=d_ap.device).unsqueeze(1).expand_as(positives)
        triplets = Triplets(anchors[present], positives[present], nearest[present])
        mined.append(Mined(triplets, d_ap[present], d_an[present]))
    return _joined(mined)


MINERS: Mapping[str, Callable[[Strips, Groups], Mined]] = {
    "hard": mine_hard,
    "semi_hard": mine_semi_hard,
}


def _beyond_by_passes(d_an: Tensor, d_ap: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest of d_an (R, N) above each of d_ap (R, P), and its distance; infinity if none is."""
    # A float mask: on a CPU an order of magnitude faster than a boolean one.
    barrier = torch.finfo(d_an.dtype).max
    kept = torch.empty_like(d_an)
    found = []
    for positive in d_ap.unbind(1):
        checkpoint()
        torch.le(d_an, positive.unsqueeze(1), out=kept)
        found.append(torch.add(d_an, kept, alpha=barrier, out=kept).min(1))
    d_beyond = torch.stack([values for values, _ in found], 1)
    return torch.stack([columns for _, columns in found], 1), d_beyond.masked_fill(
        d_beyond >= barrier, torch.inf
    )


def _beyond_by_sorting(d_an: Tensor, d_ap: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same as `_beyond_by_passes`; the time hardly depends on P."""
    ordered, columns = d_an.sort(dim=1, stable=True)
    places = torch.searchsorted(ordered, d_ap.contiguous(), right=True).clamp_(max=d_an.shape[1] - 1)
    return columns.gather(1, places), ordered.gather(1, places)


def _no_triplets(strips: Strips, groups: Groups) -> Mined:
    rows, distances = groups.codes[:0], strips.x[:0, 0]
    return Mined(Triplets(rows, rows, rows), distances, distances)


def _joined(mined: Sequence[Mined]) -> Mined:
    triplets, d_ap, d_an = zip(*mined, strict=True)
    return Mined(Triplets(*map(torch.cat, zip(*triplets, strict=True))), torch.cat(d_ap), torch.cat(d_an))


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
