"""Triplet losses with their gradients, so that a trainer in any language can use them."""

from typing import Annotated, Any

import torch
from fastapi import APIRouter, Depends, Request, Response
from torch import Tensor

from models.distances import metric_of
from models.errors import NoTripletError
from models.losses import TripletOptions, batch_triplet_loss, explicit_triplet_loss
from service.api.answering import answers, respond
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
    needs = sum(tensor.nbytes for tensor in rows) * 16
    return await respond(request, await services.compute(lambda: _triplet_loss(rows, wanted), needs))


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
    # The distances, their gradient and what mining holds beside them.
    needs = 24 * len(rows) ** 2 + 16 * rows.nbytes
    return await respond(request, await services.compute(lambda: _batch_loss(rows, wanted), needs))


async def _rows(name: str, wanted: TripletLossRequest, services: Services) -> Tensor:
    """Return the samples of one side of the triplets."""
    return await resolve(getattr(wanted, name), services.encoder, lambda row: pointer_of(name, row))


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
