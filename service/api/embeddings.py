"""Embeddings of pictures, in the shape of OpenAI's."""

import base64
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from models.engines import Embeddings
from models.errors import ImageError, OptionError
from service.api.answering import answers, render, respond
from service.api.direct import DirectRoute
from service.api.faces import seen_fields
from service.api.problems import PROBLEM_RESPONSES
from service.api.samples import images_error, see_all
from service.api.schemas import EmbeddingsAnswer, EmbeddingsRequest, Model, ModelsAnswer
from service.api.state import ServicesDep, services_of
from service.api.validation import pointer_of
from service.api.wire import accepts, body
from service.encoder import HostedEncoder
from service.errors import InvalidFieldsError
from service.jobs import Look
from service.seen import Seen

__all__ = ["router"]

# As few embeddings are written faster than a thread is woken.
_INLINE = 8


_read = body(EmbeddingsRequest, image="input")

router = APIRouter(prefix="/v1", tags=["encoders"], responses=PROBLEM_RESPONSES)


@router.get("/models", response_model=ModelsAnswer)
async def list_models(services: ServicesDep) -> dict[str, Any]:
    """List the encoders as OpenAI lists models."""
    return {"object": "list", "data": [_model(one) for one in services.encoders.all()]}


@router.get("/models/{model}", response_model=Model)
async def get_model(model: str, services: ServicesDep) -> dict[str, Any]:
    """Describe one encoder as OpenAI describes a model."""
    return _model(services.encoders.named(model))


async def create_embeddings(request: Request) -> Response:
    """Embed pictures; the `openai` client works against this unchanged."""
    wanted = await _read(request)
    encoder = services_of(request).encoders.named(wanted.model)
    if wanted.dimensions not in (None, encoder.manifest.dimension):
        raise OptionError(
            f"The encoder {encoder.name!r} gives {encoder.manifest.dimension} dimensions, "
            f"not {wanted.dimensions}. Leave `dimensions` out.",
            argument="dimensions",
        )
    _check_inputs(wanted.input)
    look = Look(wanted.faces, quality="quality" in wanted.include)
    results = await see_all(request, wanted.input, encoder, look)
    several = encoder.chosen(look) == "all"
    errors: list[tuple[str, ImageError]] = []
    data: list[dict[str, Any]] = []
    for index, seen in enumerate(results):
        try:
            data += _rows(index, seen, wanted.encoding_format, several=several)
        except ImageError as error:
            errors.append((pointer_of("input", index), error))
    if errors:
        raise images_error(errors, len(results))
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    answer = {"object": "list", "model": encoder.name, "data": data, "usage": usage}
    return render(request, answer) if len(data) <= _INLINE else await respond(request, answer)


router.add_api_route(
    "/embeddings",
    create_embeddings,
    methods=["POST"],
    response_model=EmbeddingsAnswer,
    responses=answers(EmbeddingsAnswer),
    openapi_extra=accepts(EmbeddingsRequest, image="input"),
    route_class_override=DirectRoute,
)


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


def _rows(
    index: int, seen: Seen | ImageError, encoding_format: str, *, several: bool
) -> Iterator[dict[str, Any]]:
    """Yield a picture's entries of the answer: one, or where several are asked for one for each face.

    Raises:
        ImageError: the picture's own; or it has no embedding and must have one.
    """
    if isinstance(seen, ImageError):
        raise seen
    if not several:
        seen.one()
    for number, embedding in enumerate(seen.embeddings):
        row = {"object": "embedding", "index": index, "embedding": _encoded(embedding, encoding_format)}
        yield row | seen_fields(seen.view, number)


def _encoded(embedding: Embeddings, encoding_format: str) -> Embeddings | str:
    if encoding_format == "base64":
        return base64.b64encode(embedding.astype("<f4").tobytes()).decode()
    return embedding


def _model(hosted: HostedEncoder) -> dict[str, Any]:
    return {"id": hosted.name, "object": "model", "created": 0, "owned_by": "lookalike"}
