"""The triplet loss of a labelled batch: batch-all, batch-hard and semi-hard, in memory of one tile."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.batch_all import batch_all_sum
from models.distances import as_row_metric, prepare, unit_rows
from models.errors import OptionError
from models.formulas import DISTRIBUTIONS, Metric
from models.margins import (
    CostedTriplets,
    Margin,
    check_margin,
    divisor,
    fold,
    fold_sum,
    require_reduction,
    triplet_costs,
)
from models.small_batches import differentiable, is_small, small_batch_sum
from models.tiles import Strips, distances_at, fitting
from models.triplets import MINERS, Groups, Labels, count_classes, encode_labels, label_tensor
from models.worst import worst_triplets

__all__ = ["MININGS", "BatchLoss", "MinedTriplet", "batch_triplet_loss"]

MININGS: tuple[str, ...] = ("all", *MINERS)

_REDUCTIONS = {"all": "mean_active"}
_COLLAPSE = 1e-6
_SCALE_FREE = DISTRIBUTIONS | {"cosine", "hamming"}


@dataclass(frozen=True, slots=True)
class MinedTriplet:
    """One triplet of a batch: three rows, two distances, and its loss."""

    anchor: int
    positive: int
    negative: int
    d_ap: float
    d_an: float
    loss: float


@dataclass(frozen=True, slots=True)
class BatchLoss:
    """The loss of a labelled batch, and what it was formed from.

    Attributes:
        loss: () or, under the reduction `none`, one for each triplet formed; differentiable. Without a
            triplet it is 0, with gradient 0.
        mining: the miner's name.
        reduction: as it was given, or the usual one of the miner.
        easy: triplets formed that are easy; then `semi_hard` and `hard`.
        active_triplets: those that are not easy; all of them under the soft margin.
        skipped_anchors: rows without a positive, or without a negative.
        collapsed: whether all rows are at one point, so that no gradient moves them.
        triplets: those that were asked for.
    """

    loss: Tensor
    mining: str
    reduction: str
    easy: int
    semi_hard: int
    hard: int
    active_triplets: int
    skipped_anchors: int
    collapsed: bool
    triplets: list[MinedTriplet]

    @property
    def valid_triplets(self) -> int:
        """Return the number of triplets formed."""
        return self.easy + self.semi_hard + self.hard

    @property
    def fraction_active(self) -> float:
        """Return active / valid; 0 where there is no triplet."""
        return self.active_triplets / max(1, self.valid_triplets)


def batch_triplet_loss(  # noqa: PLR0913 - torch's shape: options by keyword
    embeddings: Tensor,
    labels: Labels,
    *,
    mining: str = "all",
    margin: Margin = 0.2,
    distance: Metric | str = "euclidean",
    normalize: bool = False,
    reduction: str | None = None,
    return_triplets: int = 0,
) -> BatchLoss:
    """Return the triplet loss of a labelled batch.

    `all` forms every valid triplet; `hard`, for each anchor, its farthest positive and nearest negative;
    `semi_hard`, for each positive pair, the nearest negative farther than the positive (else the farthest).
    Ties go to the lowest index. Embeddings are collapsed where all distances are at most 1e-6 times the
    largest Euclidean norm of a row (the square of that under `squared_euclidean`; 1e-6 itself where the
    metric has no scale).

    Args:
        embeddings: (N, D), any real dtype; not modified.
        labels: N hashables, or an integer tensor (N,).
        mining: one of `MININGS`.
        margin: > 0, or "soft" for ln(1 + exp(d_ap - d_an)), where every triplet is active.
        distance: a row metric.
        normalize: bring a copy of the rows to length 1 first.
        reduction: none, mean, sum or mean_active; None is mean_active for `all`, mean for the others.
            `none` gives a loss for each anchor (`hard`) or positive pair (`semi_hard`) that takes part.
        return_triplets: how many triplets of largest loss to list; -1 lists all formed, in anchor order.

    Returns:
        The loss, float32 or the embeddings' float64, with its counts.

    Raises:
        ShapeError: embeddings that are not (N, D), or another number of labels.
        NonFiniteError: NaN or infinity in the embeddings.
        DomainError: a row outside the metric's domain, or a zero row to normalise.
        OverflowedError: a distance or loss beyond its dtype.
        OptionError: an unknown name, a margin <= 0, or options that do not go together.

    Source: Schroff et al. 2015; Hermans et al. 2017.

    Example:
        >>> batch = torch.tensor([[0.0], [1.0], [1.5], [9.0]])
        >>> result = batch_triplet_loss(batch, ["a", "a", "b", "c"], mining="hard")
        >>> round(result.loss.item(), 6), result.valid_triplets, result.skipped_anchors
        (0.35, 2, 2)
    """
    metric = as_row_metric(distance)
    usual = _REDUCTIONS.get(mining, "mean")
    request = _Request(mining, margin, usual if reduction is None else reduction, return_triplets)
    small = _small(embeddings, labels, metric, request, normalize=normalize)
    if small is not None:
        return small
    x = _prepared(embeddings, metric, normalize=normalize)
    groups = Groups(encode_labels(labels, expected=len(x)).to(x.device))
    strips = Strips(x, x, metric)
    form = _all if mining == "all" else _mined
    loss, counts, triplets = form(x, strips, groups, request)
    easy, semi_hard, hard = counts.tolist()
    return BatchLoss(
        loss=loss,
        mining=mining,
        reduction=request.reduction,
        easy=easy,
        semi_hard=semi_hard,
        hard=hard,
        active_triplets=request.active(counts),
        skipped_anchors=len(x) - int(groups.taking_part.sum()),
        collapsed=_collapsed(strips),
        triplets=[MinedTriplet(*row) for row in zip(*(column.tolist() for column in triplets), strict=True)],
    )


@dataclass(frozen=True, slots=True)
class _Request:
    mining: str
    margin: Margin
    reduction: str
    listed: int

    def __post_init__(self) -> None:
        if self.mining not in MININGS:
            message = f"mining is one of {', '.join(MININGS)}, not {self.mining!r}."
            raise OptionError(message, argument="mining")
        check_margin(self.margin)
        require_reduction(self.reduction)
        if not _is_listing(self.listed):
            message = f"return_triplets is -1 (all formed) or a number >= 0, not {self.listed}."
            raise OptionError(message, argument="return_triplets")
        if self.mining == "all" and self.reduction == "none":
            message = "Mining all has no list of losses; return_triplets gives those of largest loss."
            raise OptionError(message, argument="reduction")
        if self.mining == "all" and self.listed == -1:
            message = "Mining all does not list every triplet; give return_triplets a number >= 0."
            raise OptionError(message, argument="return_triplets")

    def active(self, counts: Tensor) -> int:
        """Return how many of the (easy, semi-hard, hard) are active."""
        return int(counts.sum() if self.margin == "soft" else counts[1:].sum())


def _small(
    embeddings: Tensor, labels: Labels, metric: Metric, request: _Request, *, normalize: bool
) -> BatchLoss | None:
    """Return the loss of a small batch, in the usual case; None leaves it to the form for all others.

    A few calls of torch make what takes that form about 1 ms, however small the batch is.
    """
    if not (
        metric.name == "euclidean"
        and request.mining in {"all", "hard"}
        and request.margin != "soft"
        and request.reduction != "none"
        and request.listed == 0
        and is_small(embeddings)
    ):
        return None
    x = embeddings.float()
    tensor = label_tensor(labels, expected=len(x)).to(x.device)
    found = small_batch_sum(x, tensor, mining=request.mining, margin=request.margin, normalize=normalize)
    if found is None:
        return None
    easy, semi_hard, hard = found.classes
    count = divisor(sum(found.classes), semi_hard + hard, request.reduction)
    return BatchLoss(
        loss=differentiable(
            x, found.total / count, None if found.gradient is None else found.gradient.div_(count)
        ),
        mining=request.mining,
        reduction=request.reduction,
        easy=easy,
        semi_hard=semi_hard,
        hard=hard,
        active_triplets=semi_hard + hard,
        skipped_anchors=found.skipped,
        collapsed=False,  # rows near each other it leaves to the general form
        triplets=[],
    )


def _prepared(embeddings: Tensor, metric: Metric, *, normalize: bool) -> Tensor:
    if not normalize:
        return prepare({"embeddings": embeddings}, metric)[0]
    if metric.name in DISTRIBUTIONS:
        message = f"{metric.name} compares distributions; rows of length 1 are none."
        raise OptionError(message, argument="normalize")
    (x,) = prepare({"embeddings": embeddings}, Metric("euclidean"))
    return unit_rows(x, "embeddings")


def _all(
    x: Tensor, strips: Strips, groups: Groups, request: _Request
) -> tuple[Tensor, Tensor, CostedTriplets]:
    total, counts = batch_all_sum(x, strips, groups, request.margin)
    loss = fold_sum(total, int(counts.sum()), request.active(counts), request.reduction)
    triplets = worst_triplets(strips, groups, request.margin, request.listed)
    return fitting(loss.to(x.dtype), "The loss"), counts, triplets


def _mined(
    x: Tensor, strips: Strips, groups: Groups, request: _Request
) -> tuple[Tensor, Tensor, CostedTriplets]:
    (anchor, positive, negative), d_ap, d_an = MINERS[request.mining](strips, groups)
    pairs = torch.cat([anchor, anchor]), torch.cat([positive, negative])
    d_ap, d_an = distances_at(x, x, pairs, strips.metric, known=torch.cat([d_ap, d_an])).chunk(2)
    costs = triplet_costs(d_ap, d_an, request.margin)
    active = torch.ones_like(costs, dtype=torch.bool) if request.margin == "soft" else costs > 0
    triplets = CostedTriplets(anchor, positive, negative, d_ap, d_an, costs)
    if request.listed >= 0:
        triplets = triplets.largest(request.listed)
    counts = count_classes(d_ap, d_an, 0.0 if request.margin == "soft" else request.margin)
    return fold(costs, active, request.reduction), counts, triplets


def _collapsed(strips: Strips) -> bool:
    """Return whether all distances are negligible; most batches are cleared by what was formed already."""
    if len(strips.x) < 2:
        return False
    # The largest norm is at most sqrt(D) times the largest number.
    largest = float(strips.x.abs().amax())
    if strips.largest > _negligible(largest * math.sqrt(strips.x.shape[1]), strips.metric):
        return False
    lengths = torch.linalg.vector_norm(strips.x / largest, dim=1) if largest else strips.x
    bound = _negligible(float(lengths.amax()) * largest, strips.metric)
    return all(bool(strips.distances(rows).max() <= bound) for rows in strips)


def _negligible(norm: float, metric: Metric) -> float:
    """Return up to which distance rows are at one point, given the largest Euclidean norm of a row."""
    if metric.name in _SCALE_FREE:
        return _COLLAPSE
    bound = _COLLAPSE * norm
    return bound * bound if metric.name == "squared_euclidean" else bound


def _is_listing(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and count >= -1
