"""Distances between samples."""

from typing import Annotated, Any

import torch
from fastapi import APIRouter, Depends, Request, Response
from torch import Tensor

from models.distances import (
    MATRIX_METRICS,
    l2_normalize,
    matrix_distance,
    metric_of,
    paired,
    pairwise,
    reduce_distances,
)
from models.errors import OptionError
from models.estimates import Rows, matrix_bytes, paired_bytes, pairwise_bytes
from service.api.answering import answers, respond
from service.api.budgets import Needs, Sizes
from service.api.numeric_schemas import DistancesAnswer, DistancesRequest
from service.api.problems import PROBLEM_RESPONSES
from service.api.samples import resolve
from service.api.state import ServicesDep
from service.api.validation import pointer_of
from service.api.wire import accepts, body

__all__ = ["router"]

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
    encoder = services.encoder
    if wanted.paired and wanted.y is None:
        raise OptionError(
            "Paired distances compare x[i] with y[i]. Give y, or leave paired out.", argument="y"
        )
    x = await resolve(wanted.x, encoder, lambda row: pointer_of("x", row))
    y = x if wanted.y is None else await resolve(wanted.y, encoder, lambda row: pointer_of("y", row))
    needs = _needs(request, Rows.of(x), None if y is x else Rows.of(y), wanted)
    answer = await services.compute(request, lambda: _distances(x, y, wanted), needs)
    return await respond(request, answer)


def _needs(request: Request, x: Rows, y: Rows | None, wanted: DistancesRequest) -> Needs:
    """Return the memory that the distances take; the input with more rows is what could be shortened."""

    def sizes(x: Rows, y: Rows | None) -> Sizes:
        other = x if y is None else y
        number_bytes = max(x.number_bytes, other.number_bytes)
        if wanted.metric in MATRIX_METRICS:
            return Sizes(matrix_bytes(x, other), 1)
        if wanted.paired:
            return Sizes(paired_bytes(x, other), x.count, number_bytes)
        numbers = x.count * other.count if wanted.reduction == "none" else 1
        return Sizes(pairwise_bytes(x, y), numbers, number_bytes)

    if y is None:
        return Needs(request, lambda rows: sizes(x.times(rows), None), x.count, "rows of x fit")
    if wanted.paired or wanted.metric in MATRIX_METRICS:
        both = min(x.count, y.count)  # where they differ, whoever compares them refuses
        return Needs(
            request, lambda rows: sizes(x.times(rows), y.times(rows)), both, "rows of x and of y fit"
        )
    if x.count > y.count:
        fitting = f"rows of x fit with these {y.count:,} of y"
        return Needs(request, lambda rows: sizes(x.times(rows), y), x.count, fitting)
    fitting = f"rows of y fit with these {x.count:,} of x"
    return Needs(request, lambda rows: sizes(x, y.times(rows)), y.count, fitting)


def _distances(x: Tensor, y: Tensor, wanted: DistancesRequest) -> dict[str, Any]:
    """Compute what was asked for; runs in a thread."""
    metric = metric_of(wanted.metric, wanted.p)
    if wanted.normalize:
        if metric.name in ("kl_divergence", "cross_entropy"):
            raise OptionError(
                f"{metric.name} compares distributions, which sum to 1; leave normalize out.",
                argument="normalize",
            )
        x, y = l2_normalize(x), l2_normalize(y)
    with torch.inference_mode():
        if metric.name in MATRIX_METRICS:
            if wanted.paired:
                raise OptionError(
                    f"{metric.name} compares whole matrices; leave paired out.", argument="paired"
                )
            distances = matrix_distance(x, y, metric)
        elif wanted.paired:
            distances = reduce_distances(paired(x, y, metric), wanted.reduction)
        else:
            distances = reduce_distances(pairwise(x, y, metric), wanted.reduction)
    return {
        "metric": metric.name,
        "shape": list(distances.shape),
        "distances": distances.numpy() if distances.ndim else distances.item(),
    }
