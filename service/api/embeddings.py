"""Embeddings of pictures, in the shape of OpenAI's."""

import base64
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from models.engines import Embeddings
from models.errors import ImageError, OptionError
from service.api.answering import answers, render, respond
from service.api.problems import PROBLEM_RESPONSES
from service.api.samples import embed_all, images_error
from service.api.schemas import EmbeddingsAnswer, EmbeddingsRequest, Model, ModelsAnswer
from service.api.state import ServicesDep
from service.api.validation import pointer_of
from service.api.wire import accepts, body
from service.encoder import HostedEncoder
from service.errors import InvalidFieldsError

__all__ = ["router"]

# As few embeddings are written faster than a thread is woken.
_INLINE = 8

router = APIRouter(prefix="/v1", tags=["encoders"], responses=PROBLEM_RESPONSES)


@router.get("/models", response_model=ModelsAnswer)
async def list_models(services: ServicesDep) -> dict[str, Any]:
    """List the encoders as OpenAI lists models."""
    return {"object": "list", "data": [_model(one) for one in services.encoders.all()]}


@router.get("/models/{model}", response_model=Model)
async def get_model(model: str, services: ServicesDep) -> dict[str, Any]:
    """Describe one encoder as OpenAI describes a model."""
    return _model(services.encoders.named(model))


@router.post(
    "/embeddings",
    response_model=EmbeddingsAnswer,
    responses=answers(EmbeddingsAnswer),
    openapi_extra=accepts(EmbeddingsRequest, image="input"),
)
async def create_embeddings(
    request: Request,
    wanted: Annotated[EmbeddingsRequest, Depends(body(EmbeddingsRequest, image="input"))],
    services: ServicesDep,
) -> Response:
    """Embed pictures; the `openai` client works against this unchanged."""
    encoder = services.encoders.named(wanted.model)
    if wanted.dimensions not in (None, encoder.manifest.dimension):
        raise OptionError(
            f"The encoder {encoder.name!r} gives {encoder.manifest.dimension} dimensions, "
            f"not {wanted.dimensions}. Leave `dimensions` out.",
            argument="dimensions",
        )
    _check_inputs(wanted.input)
    results = await embed_all(request, wanted.input, encoder)
    errors = [
        (pointer_of("input", index), result)
        for index, result in enumerate(results)
        if isinstance(result, ImageError)
    ]
    if errors:
        raise images_error(errors, len(results))
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(result, wanted.encoding_format)}
        for index, result in enumerate(results)
        if isinstance(result, np.ndarray)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    answer = {"object": "list", "model": encoder.name, "data": data, "usage": usage}
    return render(request, answer) if len(data) <= _INLINE else await respond(request, answer)


def _check_inputs(inputs: list[object]) -> None:
    """Refuse an empty list, and vectors, which are embedded already."""
    if not inputs:
        message = "There is no picture in it. Give at least one."
        raise InvalidFieldsError(f"/input: {message}", [("/input", message)])
    for index, sample in enumerate(inputs):
        if isinstance(sample, (int, float, list, dict, type(None))):
            pointer = pointer_of("input", index)
            message = "It is no picture. Give a data URI or base64; vectors are embedded already."
            raise InvalidFieldsError(f"{pointer}: {message}", [(pointer, message)])


def _encoded(embedding: Embeddings, encoding_format: str) -> Embeddings | str:
    if encoding_format == "base64":
        return base64.b64encode(embedding.astype("<f4").tobytes()).decode()
    return embedding


def _model(hosted: HostedEncoder) -> dict[str, Any]:
    return {"id": hosted.name, "object": "model", "created": 0, "owned_by": "lookalike"}
