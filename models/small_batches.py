"""The batch-all and batch-hard loss of a small batch, with its gradient, in a few operations.

At the sizes that re-identification trains with, time goes to calls of torch and not to numbers. So this form
holds all N x N distances at once, forms the gradient by hand along with the loss, and takes only what it can
answer to the last digit: whatever else there is, NaN, rows that are all but equal, anchors without a partner,
it declines, for the general form to answer or to refuse.

Float32 rows are multiplied in float64, where |x|^2 + |y|^2 - 2 x.y keeps more digits than float32 has until
two rows are nearer than `_NEAR` of the largest: no near pairs need to be formed once more, as in
`models.euclid`. The distances are rounded to float32 before anything is compared.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.interruption import checkpoint

__all__ = ["SmallBatch", "differentiable", "is_small", "small_batch_sum"]

# About where a product in float64 begins to take longer than the calls of torch that it saves, on a CPU.
_MOST_ROWS = 256
_MOST_NUMBERS = 2**17
_MOST_COSTS = 2**18  # of batch-all, all held at once: what K = 5 makes of 256 rows

# d > 2^-11 |x|: d^2 is above 2^-23 of the terms that it is the difference of, which are exact to 2^-50.
_NEAR = 2.0**-11
_SQUARES = (1e-24, 1e30)  # squared lengths whose differences, down to `_NEAR`, are ordinary float32 numbers
_LARGEST = 1e38  # sums beyond it may not fit float32
_DTYPES = frozenset({torch.float32, torch.float16, torch.bfloat16})


class SmallBatch(NamedTuple):
    """What all triplets of a batch cost together.

    Attributes:
        total: their summed cost.
        gradient: (N, D) float32, dtotal/dx; None where it was not asked for.
        classes: how many are easy, semi-hard and hard.
        skipped: rows without a positive, or without a negative.
    """

    total: float
    gradient: Tensor | None
    classes: tuple[int, int, int]
    skipped: int


class _Rows(NamedTuple):
    """Rows as they are compared: (N, D) float64, and the (N, 1) lengths that were divided out of them."""

    values: Tensor
    lengths: Tensor | None


def is_small(embeddings: object) -> bool:
    """Return whether a batch is for this form by its shape and dtype; float64 has no wider type."""
    return (
        isinstance(embeddings, Tensor)
        and embeddings.dtype in _DTYPES
        and embeddings.ndim == 2
        and 2 <= len(embeddings) <= _MOST_ROWS
        and 0 < embeddings.numel() <= _MOST_NUMBERS
        and embeddings.layout == torch.strided
        and not embeddings.is_meta
    )


def small_batch_sum(
    x: Tensor, labels: Tensor, *, mining: str, margin: float, normalize: bool
) -> SmallBatch | None:
    """Return the summed cost of a batch's triplets under the Euclidean distance, or None where it declines.

    Args:
        x: (N, D) float32, of a batch that `is_small`.
        labels: (N,) integers, same device.
        mining: all or hard.
        margin: > 0.
        normalize: bring a copy of the rows to length 1 first.
    """
    checkpoint()
    values = x.detach()
    if normalize:
        lengths = torch.linalg.vector_norm(values, dim=1, keepdim=True, dtype=torch.float64)
        rows, near = _Rows(values / lengths, lengths), _NEAR
        sums = lengths.new_full((1, 1), 2.0)
    else:
        values = values.double()
        lengths = torch.linalg.vecdot(values, values)
        largest = float(lengths.amax())
        if not _SQUARES[0] < largest < _SQUARES[1]:
            return None
        rows, near = _Rows(values, None), _NEAR * largest**0.5
        sums = lengths.unsqueeze(1) + lengths
    squares = torch.addmm(sums, rows.values, rows.values.t(), alpha=-2).float()
    same = labels.unsqueeze(1) == labels
    form = _all if mining == "all" else _hard
    formed = form(squares, same, margin, near)
    if formed is None or not formed.total < _LARGEST:
        return None
    wanted = x.requires_grad and torch.is_grad_enabled()
    gradient = _of_given(formed.pull(rows), rows) if wanted else None
    return SmallBatch(formed.total, gradient, formed.classes, formed.skipped)


def differentiable(x: Tensor, loss: float, gradient: Tensor | None) -> Tensor:
    """Return a loss of x, () float32, whose gradient is known already."""
    answer = x.detach().new_full((), loss)
    if gradient is None:
        return answer
    known: Tensor = _Known.apply(x, (answer, gradient))  # type: ignore[no-untyped-call]  # torch has not typed it
    return known


class _Known(torch.autograd.Function):
    """x (N, D) -> (), with dL/dx at hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
        loss, gradient = known
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None


class _Formed(NamedTuple):
    """A `SmallBatch` whose gradient, for rows as they are compared, is yet to be formed by `pull`.

    Under `normalize` it may leave out what is along a row.
    """

    total: float
    pull: Callable[[_Rows], Tensor]
    classes: tuple[int, int, int]
    skipped: int


def _hard(squares: Tensor, same: Tensor, margin: float, near: float) -> _Formed | None:
    """Mine batch-hard from squared distances (N, N), overwritten; None where an anchor lacks a partner."""
    farthest, positive = torch.where(same, squares, 0.0).max(1)
    nearest, negative = squares.masked_fill_(same, torch.inf).min(1)
    mined = torch.stack([farthest, nearest]).sqrt_()
    reach = mined[0] + margin
    # Of so few numbers Python makes sums and counts faster than it calls torch.
    d_ap, d_an, within = *mined.tolist(), reach.tolist()
    # NaN is not less than infinity; a row that is its own farthest positive is at 0.
    if not sum(d_ap) + sum(d_an) < torch.inf or min(*d_ap, *d_an) <= near:
        return None
    costs = [bound - d for bound, d in zip(within, d_an, strict=True) if d < bound]
    easy = len(d_an) - len(costs)
    hard = sum(an <= ap and an < bound for ap, an, bound in zip(d_ap, d_an, within, strict=True))

    def pull(rows: _Rows) -> Tensor:
        slopes = ((mined[1] < reach) / mined).double()  # dL/dd / d, of the negatives with the other sign
        slopes[1].neg_()
        index = torch.cat([positive, negative])
        pulls = rows.values - rows.values.index_select(0, index).view(2, *rows.values.shape)
        pulls.mul_(slopes.unsqueeze(2))
        return pulls.sum(0).index_add_(0, index, pulls.flatten(0, 1), alpha=-1)

    return _Formed(sum(costs), pull, (easy, len(costs) - hard, hard), 0)


def _all(squares: Tensor, same: Tensor, margin: float, near: float) -> _Formed | None:
    """Form every valid triplet, as a table of positive pairs by rows; (N, N) each, overwritten."""
    count = len(same)
    sizes = same.sum(1).tolist()
    if (sum(sizes) - count) * count > _MOST_COSTS:
        return None
    distances = squares.sqrt_().fill_diagonal_(torch.inf)
    if not float(distances.amin()) > near:
        return None
    negatives = distances.masked_fill(same, torch.inf)
    anchor, positive = same.fill_diagonal_(False).nonzero().unbind(1)
    d_ap = distances[anchor, positive].unsqueeze(1)
    d_an = negatives.index_select(0, anchor)  # (T, N), infinite beside no negative
    reached = d_an <= d_ap
    costs = torch.sub(d_ap + margin, d_an, out=d_an).relu_()
    total = float(costs.sum(dtype=torch.float64))
    reaching = costs.sign_()
    # fl(d_ap + margin) may round to d_ap itself; then d_an = d_ap is easy.
    hard = int(reached.logical_and_(reaching).sum())
    pulled = reaching.sum(1)
    active = int(pulled.sum())
    valid = sum((size - 1) * (count - size) for size in sizes)

    def pull(rows: _Rows) -> Tensor:
        slopes = torch.zeros_like(distances).index_add_(0, anchor, reaching, alpha=-1)
        slopes[anchor, positive] = pulled
        weights = slopes.div_(distances).double()
        weights = weights + weights.t()
        if rows.lengths is not None:
            return -(weights @ rows.values)
        return (weights.sum(1, keepdim=True) * rows.values).addmm_(weights, rows.values, alpha=-1)

    return _Formed(total, pull, (valid - active, active - hard, hard), sizes.count(1) + sizes.count(count))


def _of_given(gradient: Tensor, rows: _Rows) -> Tensor:
    """Turn the gradient for the rows as they are compared into that for the given rows, float32."""
    if rows.lengths is not None:  # along its length a row changes nothing
        along = torch.linalg.vecdot(gradient, rows.values).unsqueeze(1)
        gradient.addcmul_(along, rows.values, value=-1).div_(rows.lengths)
    return gradient.float()
