"""Triplet losses with their gradients, so that a trainer in any language can use them."""

from functools import reduce
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Depends, Request, Response
from torch import Tensor

from models.distances import metric_of
from models.estimates import Rows, batch_loss_bytes, explicit_loss_bytes, positive_pairs
from models.losses import TripletOptions, batch_triplet_loss, explicit_triplet_loss
from models.triplets import encode_labels
from service.answers import batch_answer, require_triplets, triplet_answer
from service.api.answering import answers, render
from service.api.budgets import Needs, Sizes, operations_of
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
from service.jobs import Look

__all__ = ["router"]

_TRIPLET_TEXT_BYTES = 320  # of a mined triplet in the answer: 150 at most, in a buffer that grows by doubling

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
    rows = [await _rows(request, name, wanted, services) for name in ("anchor", "positive", "negative")]
    needs = _needs_of_triplets(request, rows, wanted)
    return await services.compute(request, lambda: render(request, _triplet_loss(rows, wanted)), needs)


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
    rows = await _rows(request, "embeddings", wanted, services)
    codes, pairs = await services.store(lambda: _coded(wanted, len(rows)))
    needs = _needs_of_batch(request, Rows.of(rows), wanted, pairs)
    return await services.compute(request, lambda: render(request, _batch_loss(rows, codes, wanted)), needs)


async def _rows(
    request: Request, name: str, wanted: TripletLossRequest | BatchLossRequest, services: Services
) -> Tensor:
    """Return the samples of a field."""
    encoder, look = services.encoders.named(wanted.model), Look(wanted.faces)
    return await resolve(
        request, getattr(wanted, name), encoder, lambda row: pointer_of(name, row), look=look
    )


def _needs_of_triplets(request: Request, sides: list[Tensor], wanted: TripletLossRequest) -> Needs:
    """Return what the loss of given triplets takes."""
    count = min(map(len, sides))  # where they differ, whoever compares them refuses
    dtype = reduce(torch.promote_types, (side.dtype for side in sides))
    anchors = Rows(count, sides[0].shape[1], dtype)

    def sizes(count: int) -> Sizes:
        rows = anchors.times(count)
        peak = explicit_loss_bytes(rows, swap=wanted.swap, gradients=wanted.gradients)
        numbers = 3 * count * rows.dimension if wanted.gradients else 0
        numbers += count if wanted.reduction == "none" else 0
        operations = operations_of(3 * count, rows.dimension, gradients=wanted.gradients)
        return Sizes(peak, numbers, operations, rows.number_bytes)

    return Needs(request, sizes, count, "triplets fit")


def _needs_of_batch(request: Request, embeddings: Rows, wanted: BatchLossRequest, pairs: int) -> Needs:
    """Return what a mined loss takes; with fewer rows, positive pairs become fewer by the square."""

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
        # Each positive with a row of distances, and once more to find the worst of all.
        passes = {"all": 1 + (wanted.return_triplets > 0), "hard": 0, "semi_hard": 1}[wanted.mining]
        operations = operations_of(
            count * count, rows.dimension, compared=passes * count * formed, gradients=wanted.gradients
        )
        return Sizes(peak, numbers, operations, rows.number_bytes, _TRIPLET_TEXT_BYTES * listed)

    return Needs(request, sizes, embeddings.count, "embeddings fit, labelled in the same shares")


def _coded(wanted: BatchLossRequest, count: int) -> tuple[Tensor, int]:
    """Return the labels of the rows as codes, and how many positive pairs they form; runs in a thread."""
    codes = encode_labels(wanted.labels, expected=count)
    return codes, positive_pairs(torch.bincount(codes).tolist(), count)


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
    answer = triplet_answer(result, options.reduction)
    if wanted.gradients:
        leaves = (anchor, positive, negative)
        gradients = torch.autograd.grad(result.loss.sum(), leaves)
        names = ("anchor", "positive", "negative")
        answer["gradients"] = dict(zip(names, map(_array, gradients), strict=True))
    return answer


def _batch_loss(rows: Tensor, codes: Tensor, wanted: BatchLossRequest) -> dict[str, Any]:
    """Compute loss, counts and gradient; runs in a thread."""
    embeddings = _leaf(rows, wanted.gradients)
    result = batch_triplet_loss(
        embeddings,
        codes,
        mining=wanted.mining,
        margin=wanted.margin,
        distance=metric_of(wanted.distance, wanted.p),
        normalize=wanted.normalize,
        reduction=wanted.reduction,
        return_triplets=wanted.return_triplets,
    )
    require_triplets(result)
    answer = batch_answer(result, listed=wanted.return_triplets != 0)
    if wanted.gradients:
        (gradient,) = torch.autograd.grad(result.loss.sum(), embeddings)
        answer["gradients"] = _array(gradient)
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
