"""Triplet losses with their gradients, so that a trainer in any language can use them."""

from collections import Counter
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Depends, Request, Response
from torch import Tensor

from models.distances import metric_of
from models.errors import NoTripletError
from models.estimates import Rows, batch_loss_bytes, explicit_loss_bytes, positive_pairs
from models.losses import TripletOptions, batch_triplet_loss, explicit_triplet_loss
from service.api.answering import answers, respond
from service.api.budgets import Needs, Sizes
from service.api.numeric_schemas import (
    BatchLossAnswer,
    BatchLossRequest,
    TripletLossAnswer,
    TripletLossRequest,
)
from service.api.problems import PROBLEM_RESPONSES
from service.api.samples import resolve
from service.api.state import Services, ServicesDep
from service.api.validation import pointer_of
from service.api.wire import accepts, body

__all__ = ["router"]

# A mined triplet of the answer: a dict with its numbers, and its text.
_LISTED_BYTES = 600

router = APIRouter(prefix="/v1/losses", tags=["distances and losses"], responses=PROBLEM_RESPONSES)


@router.post(
    "/triplet",
    response_model=TripletLossAnswer,
    responses=answers(TripletLossAnswer),
    openapi_extra=accepts(TripletLossRequest, files=("anchor", "positive", "negative")),
)
async def compute_triplet_loss(
    request: Request,
    wanted: Annotated[TripletLossRequest, Depends(body(TripletLossRequest))],
    services: ServicesDep,
) -> Response:
    """Compute the loss of explicit triplets; equal to torch's `triplet_margin_loss` for its options."""
    rows = [await _rows(name, wanted, services) for name in ("anchor", "positive", "negative")]
    needs = _needs_of_triplets(request, Rows.of(rows[0]), wanted)
    answer = await services.compute(request, lambda: _triplet_loss(rows, wanted), needs)
    return await respond(request, answer)


@router.post(
    "/batch",
    response_model=BatchLossAnswer,
    responses=answers(BatchLossAnswer),
    openapi_extra=accepts(BatchLossRequest, files=("embeddings",)),
)
async def compute_batch_loss(
    request: Request,
    wanted: Annotated[BatchLossRequest, Depends(body(BatchLossRequest))],
    services: ServicesDep,
) -> Response:
    """Mine triplets from a labelled batch and compute their loss, counts and gradient."""
    rows = await resolve(wanted.embeddings, services.encoder, lambda row: pointer_of("embeddings", row))
    pairs = await services.store(lambda: _pairs(wanted)) if wanted.mining == "semi_hard" else 0
    needs = _needs_of_batch(request, Rows.of(rows), wanted, pairs)
    answer = await services.compute(request, lambda: _batch_loss(rows, wanted), needs)
    return await respond(request, answer)


async def _rows(name: str, wanted: TripletLossRequest, services: Services) -> Tensor:
    """Return the samples of one side of the triplets."""
    return await resolve(getattr(wanted, name), services.encoder, lambda row: pointer_of(name, row))


def _needs_of_triplets(request: Request, anchors: Rows, wanted: TripletLossRequest) -> Needs:
    """Return the memory that the loss of given triplets takes."""

    def sizes(count: int) -> Sizes:
        rows = anchors.times(count)
        peak = explicit_loss_bytes(rows, swap=wanted.swap, gradients=wanted.gradients)
        numbers = 3 * count * rows.dimension if wanted.gradients else 0
        return Sizes(peak, numbers + (count if wanted.reduction == "none" else 0), rows.number_bytes)

    return Needs(request, sizes, anchors.count, "triplets fit")


def _needs_of_batch(request: Request, embeddings: Rows, wanted: BatchLossRequest, pairs: int) -> Needs:
    """Return the memory that a mined loss takes; with fewer rows, pairs become fewer by the square."""

    def sizes(count: int) -> Sizes:
        rows = embeddings.times(count)
        formed = pairs * count**2 // embeddings.count**2
        listed = {"all": wanted.return_triplets, "hard": count, "semi_hard": formed}[wanted.mining]
        if wanted.return_triplets >= 0:
            listed = min(listed, wanted.return_triplets)
        peak = batch_loss_bytes(
            rows, mining=wanted.mining, pairs=formed, gradients=wanted.gradients, listed=listed
        )
        numbers = count * rows.dimension if wanted.gradients else 0
        if wanted.reduction == "none":
            numbers += formed if wanted.mining == "semi_hard" else count
        return Sizes(peak, numbers, rows.number_bytes, _LISTED_BYTES * listed)

    return Needs(request, sizes, embeddings.count, "embeddings fit, labelled in the same shares")


def _pairs(wanted: BatchLossRequest) -> int:
    """Return how many positive pairs the labels form; runs in a thread."""
    labels = wanted.labels.tolist() if isinstance(wanted.labels, Tensor) else wanted.labels
    return positive_pairs(Counter(labels).values(), len(labels))


def _triplet_loss(rows: list[Tensor], wanted: TripletLossRequest) -> dict[str, Any]:
    """Compute loss and gradients; runs in a thread."""
    anchor, positive, negative = (_leaf(row, wanted.gradients) for row in rows)
    options = TripletOptions(
        margin=wanted.margin,
        distance=wanted.distance,
        p=wanted.p,
        eps=wanted.eps,
        swap=wanted.swap,
        alpha=wanted.alpha,
        reduction=wanted.reduction,
    )
    result = explicit_triplet_loss(anchor, positive, negative, options)
    answer = {
        "loss": _value(result.loss),
        "reduction": wanted.reduction,
        "valid_triplets": result.valid_triplets,
        "active_triplets": result.active_triplets,
        "fraction_active": result.fraction_active,
    }
    if wanted.gradients:
        leaves = (anchor, positive, negative)
        gradients = torch.autograd.grad(result.loss.sum(), leaves)
        names = ("anchor", "positive", "negative")
        answer["gradients"] = dict(zip(names, map(_array, gradients), strict=True))
    return answer


def _batch_loss(rows: Tensor, wanted: BatchLossRequest) -> dict[str, Any]:
    """Compute loss, counts and gradient; runs in a thread."""
    embeddings = _leaf(rows, wanted.gradients)
    reduction = wanted.reduction or ("mean_active" if wanted.mining == "all" else "mean")
    result = batch_triplet_loss(
        embeddings,
        wanted.labels,
        mining=wanted.mining,
        margin=wanted.margin,
        distance=metric_of(wanted.distance, wanted.p),
        normalize=wanted.normalize,
        reduction=reduction,
        return_triplets=wanted.return_triplets,
    )
    if result.valid_triplets == 0:
        raise NoTripletError(
            "No triplet can be formed: it takes a label with two or more embeddings and one embedding of "
            "another label. Check `labels`, or sample batches with several embeddings a label.",
            argument="labels",
        )
    answer = {
        "loss": _value(result.loss),
        "mining": wanted.mining,
        "reduction": reduction,
        "valid_triplets": result.valid_triplets,
        "active_triplets": result.active_triplets,
        "fraction_active": result.fraction_active,
        "easy": result.easy,
        "semi_hard": result.semi_hard,
        "hard": result.hard,
        "skipped_anchors": result.skipped_anchors,
        "collapsed": result.collapsed,
    }
    if wanted.gradients:
        (gradient,) = torch.autograd.grad(result.loss.sum(), embeddings)
        answer["gradients"] = _array(gradient)
    if wanted.return_triplets:
        answer["triplets"] = [
            {
                "anchor": triplet.anchor,
                "positive": triplet.positive,
                "negative": triplet.negative,
                "d_ap": triplet.d_ap,
                "d_an": triplet.d_an,
                "loss": triplet.loss,
            }
            for triplet in result.triplets
        ]
    return answer


def _leaf(rows: Tensor, gradients: bool) -> Tensor:
    """Return rows as a leaf of the graph where gradients are asked for, in a dtype that can have them."""
    if not gradients:
        return rows
    precise = rows if rows.is_floating_point() else rows.float()
    return precise.detach().requires_grad_()


def _array(gradient: Tensor) -> Any:
    """Return an (N, D) gradient as an array, half precisions as float32."""
    return (gradient if gradient.element_size() >= 4 else gradient.float()).numpy()


def _value(loss: Tensor) -> Any:
    """Return the loss as a number, or as an array where it is one a triplet."""
    return loss.detach().numpy() if loss.ndim else loss.item()
