"""Distances between samples."""

from typing import Annotated

import torch
from fastapi import APIRouter, Depends, Request, Response
from torch import Tensor

from models.comparing import Comparing, compare
from models.distances import reduce_distances
from models.estimates import Rows, matrix_bytes, paired_bytes, pairwise_bytes
from service.answers import distances_answer
from service.api.answering import answers, render
from service.api.budgets import Needs, Sizes, operations_of
from service.api.numeric_schemas import DistancesAnswer, DistancesRequest
from service.api.problems import PROBLEM_RESPONSES
from service.api.samples import resolve
from service.api.state import ServicesDep
from service.api.validation import pointer_of
from service.api.wire import accepts, body
from service.jobs import Look

__all__ = ["router"]

_SVD_PASSES = 4  # of singular values, over rows x columns x the smaller of them

router = APIRouter(prefix="/v1", tags=["distances and losses"], responses=PROBLEM_RESPONSES)


@router.post(
    "/distances",
    response_model=DistancesAnswer,
    responses=answers(DistancesAnswer),
    openapi_extra=accepts(DistancesRequest, files=("x", "y")),
)
async def compute_distances(
    request: Request,
    wanted: Annotated[DistancesRequest, Depends(body(DistancesRequest))],
    services: ServicesDep,
) -> Response:
    """Compute distances: smaller is closer, exact, for vectors and pictures alike."""
    encoder, look = services.encoders.named(wanted.model), Look(wanted.faces)
    how = Comparing(
        name=wanted.metric,
        p=wanted.p,
        paired=wanted.paired,
        normalize=wanted.normalize,
        reduction=wanted.reduction,
    )
    how.check_given(y=wanted.y is not None)
    x = await resolve(request, wanted.x, encoder, lambda row: pointer_of("x", row), look=look)
    y = (
        None
        if wanted.y is None
        else await resolve(request, wanted.y, encoder, lambda row: pointer_of("y", row), look=look)
    )
    needs = _needs(request, Rows.of(x), None if y is None else Rows.of(y), how)
    return await services.compute(request, lambda: _answer(request, x, y, how), needs)


def _answer(request: Request, x: Tensor, y: Tensor | None, how: Comparing) -> Response:
    """Compute what was asked for and put the answer together; runs in a thread."""
    with torch.inference_mode():
        distances = reduce_distances(compare(x, y, how), how.reduction)
    return render(request, distances_answer(distances, how))


def _needs(request: Request, x: Rows, y: Rows | None, how: Comparing) -> Needs:
    """Return what the distances take; the input with more rows is what could be shortened."""
    if y is None:
        return Needs(request, lambda rows: _sizes(x.times(rows), None, how), x.count, "rows of x fit")
    if how.paired or how.whole:
        both = min(x.count, y.count)  # where they differ, whoever compares them refuses
        return Needs(
            request, lambda rows: _sizes(x.times(rows), y.times(rows), how), both, "rows of x and of y fit"
        )
    if x.count > y.count:
        fitting = f"rows of x fit with these {y.count:,} of y"
        return Needs(request, lambda rows: _sizes(x.times(rows), y, how), x.count, fitting)
    fitting = f"rows of y fit with these {x.count:,} of x"
    return Needs(request, lambda rows: _sizes(x, y.times(rows), how), y.count, fitting)


def _sizes(x: Rows, y: Rows | None, how: Comparing) -> Sizes:
    other = x if y is None else y
    number_bytes = max(x.number_bytes, other.number_bytes)
    if how.whole:
        ranks = min(x.count, x.dimension) if how.name == "nuclear" else 1
        return Sizes(matrix_bytes(x, other), 1, operations_of(_SVD_PASSES * x.count * ranks, x.dimension))
    pairs = x.count if how.paired else x.count * other.count
    peak = paired_bytes(x, other) if how.paired else pairwise_bytes(x, y)
    numbers = pairs if how.reduction == "none" else 1
    return Sizes(peak, numbers, operations_of(pairs, x.dimension), number_bytes)
