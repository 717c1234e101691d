"""The queries of a search as vectors: samples, stored items, and the faces in photographs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fastapi import Request
from torch import Tensor

from models.errors import ImageError
from service.api.excluding import stored_items, what_is_left_out
from service.api.faces import face_answer, seen_fields
from service.api.fusing import fused
from service.api.samples import images_error, is_image, resolve, see_all
from service.api.search_schemas import SearchRequest
from service.api.state import Services
from service.api.validation import pointer_of
from service.api.vectors import vectors_of
from service.api.wire import Upload
from service.gallery.collection import Collection, StoredItem, Vectors
from service.gallery.options import LeftOut
from service.jobs import Look
from service.seen import Seen

__all__ = ["Asked", "Question", "ask"]


@dataclass(slots=True)  # frozen ones take several times as long to make
class Question:
    """What one result answers.

    Attributes:
        query: its position in the request.
        vector: to search with; None where a photograph has no face to search with.
        fields: what the result says about it.
    """

    query: int
    vector: object | None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Asked:
    """What is searched for.

    Attributes:
        questions: one for each result, in order; None where each is one of the vectors, and no more is said.
        vectors: (R, D) float32 of those that have one, in order.
        left_out: for each of these what it must not find; may be empty where that is nothing.
    """

    questions: Sequence[Question] | None
    vectors: Vectors
    left_out: Sequence[LeftOut]


async def ask(
    request: Request, wanted: SearchRequest, target: Collection, services: Services, look: Look
) -> Asked:
    """Return the queries as vectors, pictures embedded and stored items looked up.

    Raises:
        InvalidFieldsError: queries that cannot be used, each with its pointer.
        NotFoundError: no stored item of an id.
    """
    queries = wanted.queries
    if isinstance(queries, Tensor):
        if look.faces is not None:  # refused as it is with a list
            await see_all(request, [], services.encoder_of(target), look)
        rows = await resolve(request, queries, services.encoder, lambda row: pointer_of("queries", row))
        if wanted.exclude_same:  # a row has no fields to go by, which the first one says
            what_is_left_out(0, None, dict.fromkeys(wanted.exclude_same), {})
        as_they_are = rows.dtype == torch.float32
        return _plain(rows.numpy() if as_they_are else await services.store(lambda: rows.float().numpy()))
    if look.faces is None and not wanted.exclude_same and all(isinstance(query, list) for query in queries):
        return _plain(await vectors_of(request, queries, lambda row: pointer_of("queries", row)))
    stored: dict[str, StoredItem] = {}
    if not all(isinstance(query, (list, str, Upload)) for query in queries):  # none of which is a stored item
        stored = await services.store(lambda: stored_items(queries, target))
    same = {field: target.config.fields.get(field) for field in wanted.exclude_same}
    left_out = [what_is_left_out(position, query, same, stored) for position, query in enumerate(queries)]
    single = await fused(request, queries, stored, target, services, look)
    questions = await _questions(request, single, target, services, look)
    rated = [question for question in questions if question.vector is not None]
    left_out = [left_out[question.query] for question in rated]
    if not rated:
        return Asked(questions, np.empty((0, target.config.dimension), dtype=np.float32), left_out)
    samples = [question.vector for question in rated]
    rows = await resolve(
        request, samples, services.encoder, lambda row: pointer_of("queries", rated[row].query)
    )
    return Asked(questions, rows.numpy(), left_out)


def _plain(vectors: Vectors) -> Asked:
    """Return queries that are vectors and leave nothing out."""
    return Asked(None, vectors, ())


async def _questions(
    request: Request, queries: Sequence[object], target: Collection, services: Services, look: Look
) -> list[Question]:
    """Return what samples ask, in their order: one question each, or one for each face of it."""
    pictures = [query for query in queries if is_image(query)]
    if not pictures and look.faces is None:
        return [Question(position, query) for position, query in enumerate(queries)]
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
    for position, query in enumerate(queries):
        view = views.get(position)
        if isinstance(view, Seen):
            questions += _looked_at(position, view)
        else:
            questions.append(Question(position, query))
    if encoder.chosen(look) == "all":
        for question in questions:
            question.fields["query"] = question.query
    return questions


def _looked_at(position: int, seen: Seen) -> list[Question]:
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
