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
from service.api.answering import answers, respond
from service.api.numeric_schemas import DistancesAnswer, DistancesRequest
from service.api.problems import PROBLEM_RESPONSES
from service.api.samples import resolve
from service.api.state import ServicesDep
from service.api.validation import pointer_of
from service.api.wire import accepts, body

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["distances and losses"], responses=PROBLEM_RESPONSES)

# Bytes for each number of an answer: itself, the tile that it comes from, and its text in JSON.
_BYTES_PER_DISTANCE = 32


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
    count = len(x) if wanted.paired else len(x) * len(y)
    answer = await services.compute(
        lambda: _distances(x, y, wanted), _BYTES_PER_DISTANCE * count + 4 * (x.nbytes + y.nbytes)
    )
    return await respond(request, answer)


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
