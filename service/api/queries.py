"""The queries of a search as vectors: samples, stored items, and the faces in photographs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import Request
from torch import Tensor

from models.errors import ImageError
from service.api.faces import face_answer, seen_fields
from service.api.samples import images_error, is_image, resolve, see_all
from service.api.search_schemas import QueryById
from service.api.state import Services
from service.api.validation import pointer_of
from service.encoder import HostedEncoder
from service.errors import NotFoundError
from service.gallery.collection import Collection, Vectors
from service.jobs import Look
from service.seen import Seen

__all__ = ["Asked", "Question", "ask"]


@dataclass(frozen=True, slots=True)
class Question:
    """What one result answers.

    Attributes:
        query: its position in the request.
        vector: to search with; None where a photograph has no face to search with.
        item_id: of the stored item that it is, and that must not be found.
        fields: what the result says about it.
    """

    query: int
    vector: object | None
    item_id: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is searched for.

    Attributes:
        questions: one for each result, in order.
        vectors: (R, D) float32 of those that have one, in order.
        leave_out: for each of these the id that must not be found, or None.
    """

    questions: Sequence[Question]
    vectors: Vectors
    leave_out: list[str | None]


async def ask(
    request: Request, queries: Tensor | Sequence[object], target: Collection, services: Services, look: Look
) -> Asked:
    """Return the queries as vectors, pictures embedded and stored items looked up.

    Raises:
        InvalidFieldsError: queries that cannot be used, each with its pointer.
        NotFoundError: no stored item of an id.
    """
    if isinstance(queries, Tensor):
        if look.faces is not None:  # refused as it is with a list
            await see_all(request, [], services.encoder_of(target), look)
        rows = await resolve(request, queries, services.encoder, lambda row: pointer_of("queries", row))
        vectors = await services.store(lambda: rows.float().numpy())
        return Asked([Question(row, row) for row in range(len(rows))], vectors, [None] * len(rows))
    questions = await _questions(request, queries, target, services, look)
    rated = [question for question in questions if question.vector is not None]
    leave_out = [question.item_id for question in rated]
    if not rated:
        return Asked(questions, np.empty((0, target.config.dimension), dtype=np.float32), leave_out)
    samples = [question.vector for question in rated]
    rows = await resolve(
        request, samples, services.encoder, lambda row: pointer_of("queries", rated[row].query)
    )
    return Asked(questions, rows.numpy(), leave_out)


async def _questions(
    request: Request, queries: Sequence[object], target: Collection, services: Services, look: Look
) -> list[Question]:
    """Return what the queries ask, in their order: one question each, or one for each face of it."""
    stored: Sequence[list[float] | None] = [None] * len(queries)
    if any(isinstance(query, QueryById) for query in queries):
        stored = await services.store(lambda: _stored(queries, target))
    pictures = [query for query in queries if is_image(query)]
    if not pictures and look.faces is None:
        return [_plain(position, query, vector) for position, (query, vector) in _numbered(queries, stored)]
    encoder = services.encoder_of(target)
    seen = await see_all(request, pictures, encoder, look)
    places = [position for position, query in enumerate(queries) if is_image(query)]
    errors = [
        (pointer_of("queries", position), one)
        for position, one in zip(places, seen, strict=True)
        if isinstance(one, ImageError)
    ]
    if errors:
        raise images_error(errors, len(queries))
    views = dict(zip(places, seen, strict=True))
    questions: list[Question] = []
    for position, (query, vector) in _numbered(queries, stored):
        view = views.get(position)
        if isinstance(view, Seen):
            questions += _looked_at(position, view, encoder, look)
        else:
            questions.append(_plain(position, query, vector))
    if encoder.chosen(look) == "all":
        for question in questions:
            question.fields["query"] = question.query
    return questions


def _numbered(
    queries: Sequence[object], stored: Sequence[list[float] | None]
) -> "enumerate[tuple[object, list[float] | None]]":
    return enumerate(zip(queries, stored, strict=True))


def _plain(position: int, query: object, vector: list[float] | None) -> Question:
    """Return the question of a vector, or of a stored item."""
    if isinstance(query, QueryById):
        return Question(position, vector, query.id)
    return Question(position, query)


def _looked_at(position: int, seen: Seen, encoder: HostedEncoder, look: Look) -> list[Question]:
    """Return the questions of a picture: one, or where all faces count one for each, and one without any."""
    vectors, faces = [embedding.tolist() for embedding in seen.embeddings], seen.view.faces
    if faces is None:
        return [Question(position, vectors[0], fields=seen_fields(seen.view, 0))]
    if not vectors:
        try:
            seen.one()
        except ImageError as error:
            fields = {"reason": str(error), "faces": [face_answer(face) for face in faces]}
            return [Question(position, None, fields=fields)]
    return [
        Question(position, vector, fields={"faces": [face_answer(face)]})
        for vector, face in zip(vectors, faces, strict=True)
    ]


def _stored(queries: Sequence[object], target: Collection) -> list[list[float] | None]:
    """Return the vectors of the queries that are stored items, and None for the others; runs in a thread."""
    vectors: list[list[float] | None] = []
    for query in queries:
        item = target.get(query.id, with_vector=True) if isinstance(query, QueryById) else None
        if isinstance(query, QueryById) and item is None:
            raise NotFoundError(f"The collection {target.name!r} has no item {query.id!r} to search with.")
        vectors.append(item.vector.tolist() if item and item.vector is not None else None)
    return vectors
