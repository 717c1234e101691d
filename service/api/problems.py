"""One table: exception -> status and problem+json (RFC 9457)."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from models import errors as science
from service import errors as service
from service.api.validation import sentence_of

__all__ = ["PROBLEM_RESPONSES", "SLUGS", "Problem", "install", "problem_of", "status_of"]

_MEDIA_TYPE = "application/problem+json"

# Characters of a sentence, which may repeat what the client sent; of a longer one the beginning and the end.
_LONGEST, _BEGINNING, _END = 1000, 700, 290

# Walked by __mro__, so a subclass without a row of its own answers as its parent does.
_TABLE: dict[type[Exception], tuple[int, str, str]] = {
    science.ShapeError: (422, "dimension-mismatch", "Shapes do not fit"),
    science.NonFiniteError: (422, "not-finite", "Numbers must be finite"),
    science.DomainError: (422, "outside-domain", "A row is outside the metric's domain"),
    science.OverflowedError: (422, "overflow", "The answer is too large a number"),
    science.OptionError: (422, "invalid-option", "Options do not fit"),
    science.NoTripletError: (422, "no-triplet", "The labels form no triplet"),
    science.InputError: (422, "invalid-input", "The input cannot be computed with"),
    science.UnsupportedImageError: (422, "unsupported-image", "Not a picture that is read"),
    science.DamagedImageError: (422, "damaged-image", "The picture cannot be decoded"),
    science.ImageTooLargeError: (413, "image-too-large", "The picture is too large"),
    service.UrlError: (422, "url-not-fetched", "No picture came from the URL"),
    science.NoFaceError: (422, "no-face", "There is no face in the picture"),
    science.SeveralFacesError: (422, "several-faces", "There are several faces in the picture"),
    science.LowQualityError: (422, "low-quality", "The picture is not good enough"),
    science.ImageError: (422, "invalid-image", "The picture cannot be used"),
    science.BundleError: (500, "encoder-failed", "The encoder failed"),
    service.MalformedBodyError: (400, "malformed-body", "The body cannot be read"),
    service.UnsupportedMediaError: (415, "unsupported-media-type", "The media type is not read here"),
    service.BodyTimeoutError: (408, "body-timeout", "The body did not come"),
    service.TooLargeError: (413, "too-large", "The request is too large"),
    service.InvalidFieldsError: (422, "invalid-fields", "Fields do not fit"),
    service.BundleRefusedError: (422, "bundle-refused", "The bundle cannot be hosted"),
    service.UnauthorizedError: (401, "unauthorized", "A key is needed"),
    service.ForbiddenError: (403, "forbidden", "It is not allowed here"),
    service.RequestError: (400, "bad-request", "The request cannot be understood"),
    service.NotFoundError: (404, "not-found", "There is no such thing"),
    service.ConflictError: (409, "conflict", "It conflicts with what exists"),
    service.DimensionMismatchError: (422, "dimension-mismatch", "Dimensions do not fit"),
    service.EncoderMismatchError: (409, "encoder-mismatch", "The collection belongs to another encoder"),
    service.FilterError: (422, "invalid-filter", "The filter cannot be understood"),
    service.OverloadedError: (429, "overloaded", "Too much is waiting"),
    service.EncoderFailedError: (503, "encoder-unavailable", "The encoder could not answer"),
    service.DeadlineError: (504, "deadline-passed", "The deadline passed"),
    service.NotReadyError: (503, "not-ready", "The service is not ready"),
    service.StorageError: (503, "storage", "The storage failed"),
    service.DamageError: (500, "damaged", "What is stored is damaged"),
    Exception: (500, "internal", "Something broke inside"),
}


# The `openai` client shows of an error's body nothing but its `message`.
_OPENAI_SHAPED = ("/v1/embeddings", "/v1/models")


SLUGS = frozenset(slug for _, slug, _ in _TABLE.values())


class FieldProblem(BaseModel):
    """One thing that is wrong, and where."""

    pointer: str = Field(description="JSON pointer into the request, such as /items/3/image.")
    detail: str = Field(description="What is wrong there, and what to do.")


class OpeningProblem(BaseModel):
    """How far the server is with opening its collections."""

    opened: int = Field(description="Collections that are open.")
    collections: int = Field(description="Of so many that there were at the start.")
    collection: str = Field(description="The one that is being opened.")
    rows_read: int = Field(description="Of what the record has and the snapshot has not.")
    rows: int = Field(description="So many have to be read; 0 while the snapshot is checked.")


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

    type: str = Field(description="A stable name, such as /problems/dimension-mismatch.")
    title: str
    status: int
    detail: str = Field(description="A sentence that says what to do.")
    request_id: str
    errors: list[FieldProblem] | None = None
    opening: OpeningProblem | None = Field(None, description="While collections are being opened.")
    damaged: list[str | None] | None = Field(
        None, description="Ids of damaged items of an identity of which no item can be read."
    )
    message: str | None = Field(None, description="The detail once more, where OpenAI's client looks for it.")


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, description in {
        400: "The request cannot be read.",
        401: "An operator's key is needed.",
        403: "The server has no key for operators.",
        404: "No such collection, item or encoder.",
        405: "The method is not for this path.",
        408: "The body did not come in time.",
        409: "It conflicts with what exists.",
        413: "Too many bytes, pixels or rows.",
        415: "A media type that is not read here.",
        422: "Input that does not fit; `errors` says where.",
        429: "Too much is waiting; Retry-After says when to come back.",
        500: "Something broke inside; the log has it under the request's id.",
        503: "Not ready, or encoder or storage failed; Retry-After says when to come back.",
        504: "The deadline passed before the answer was there.",
    }.items()
}


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer every exception as a problem; the routes tell which methods a path has."""

    async def answer_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _refusal(request, error, routes)

    app.add_exception_handler(science.LookalikeError, _answer)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(Exception, _answer)


def status_of(error: Exception) -> int:
    """Return the status that an exception is answered with."""
    return _row(error)[0]


def problem_of(request: Request, error: Exception, *, extensions: dict[str, Any] | None = None) -> Response:
    """Return the problem+json answer to an exception, with further members if given."""
    status, slug, title = _row(error)
    known = isinstance(error, science.LookalikeError)
    detail = str(error) if known else "The fault is ours, and it is logged under this request_id."
    headers = {}
    if isinstance(error, (service.OverloadedError, service.NotReadyError, service.StorageError)):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, service.DamageError):  # which will be there the next time too
        del headers["Retry-After"]
    if isinstance(error, service.UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    members: dict[str, Any] = {
        "type": f"/problems/{slug}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if isinstance(error, service.OpeningError):
        members["opening"] = dict(error.progress)
    errors = _pointers(error)
    return _render(
        request, {**members, **({"errors": errors} if errors else {}), **(extensions or {})}, headers
    )


async def _answer(request: Request, error: Exception) -> Response:
    return problem_of(request, error)


async def _answer_validation(request: Request, error: Exception) -> Response:
    """Answer FastAPI's own checks of path and query parameters in our words."""
    assert isinstance(error, RequestValidationError)
    found = [("/" + "/".join(str(part) for part in one["loc"]), sentence_of(one)) for one in error.errors()]
    sentence = "; ".join(f"{pointer[1:]}: {message}" for pointer, message in found)
    return problem_of(request, service.InvalidFieldsError(f"{sentence}.", found))


def _refusal(request: Request, error: HTTPException, routes: Sequence[BaseRoute]) -> Response:
    """Answer what routing refuses: unknown paths and methods, unreadable forms."""
    phrase = HTTPStatus(error.status_code).phrase
    slug = phrase.lower().replace(" ", "-")
    headers, detail = dict(error.headers or {}), str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = _nothing_at(request, routes)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Routing names the methods of the first route that matches; its path may have more routes.
        headers["Allow"] = _methods(request, routes) or headers.get("Allow", "GET")
        detail = f"{request.method} is not for {request.url.path}; use {headers['Allow']}."
    members = {"type": f"/problems/{slug}", "title": phrase, "status": error.status_code, "detail": detail}
    return _render(request, members, headers)


def _nothing_at(request: Request, routes: Sequence[BaseRoute]) -> str:
    """Say that there is no such path, and which there is without the slashes at its end."""
    path = request.url.path
    bare = path.rstrip("/")
    if bare != path and any(
        isinstance(route, Route) and route.matches({**request.scope, "path": bare})[0] is not Match.NONE
        for route in routes
    ):
        return f"There is nothing at {path}. Leave out the slash at its end: {bare}."
    return f"There is nothing at {path}. See /docs for what there is."


def _methods(request: Request, routes: Sequence[BaseRoute]) -> str:
    """Return the methods of the requested path, as the Allow header has them."""
    known = [route for route in routes if isinstance(route, Route)]
    path = next((route.path for route in known if route.matches(request.scope)[0] is not Match.NONE), None)
    methods = {method for route in known if route.path == path for method in route.methods or ()}
    return ", ".join(sorted(methods))


def _render(request: Request, members: dict[str, Any], headers: dict[str, str]) -> Response:
    request_id = getattr(request.state, "request_id", "")
    members = {**members, "detail": _cut(members["detail"])}
    if "errors" in members:
        members["errors"] = [{name: _cut(text) for name, text in one.items()} for one in members["errors"]]
    if request.scope["path"].startswith(_OPENAI_SHAPED):
        members = {**members, "message": members["detail"]}
    content = orjson.dumps({**members, "request_id": request_id})
    return Response(
        content,
        status_code=members["status"],
        media_type=_MEDIA_TYPE,
        headers={**headers, "X-Request-ID": request_id},
    )


def _cut(text: str) -> str:
    """Return a text that does not repeat at any length what the client sent."""
    return text if len(text) <= _LONGEST else f"{text[:_BEGINNING]} ... {text[-_END:]}"


def _row(error: Exception) -> tuple[int, str, str]:
    kind = error.kind if isinstance(error, service.InvalidFieldsError) and error.kind else type(error)
    return next(_TABLE[base] for base in kind.__mro__ if base in _TABLE)


def _pointers(error: Exception) -> list[dict[str, str]]:
    """Return where in the request the fault lies, as far as the exception knows."""
    if isinstance(error, service.InvalidFieldsError):
        return [{"pointer": pointer, "detail": detail} for pointer, detail in error.errors]
    if isinstance(error, service.FilterError):
        return [{"pointer": "/filter", "detail": str(error)}]
    if isinstance(error, service.DimensionMismatchError) and error.argument is not None:
        return [{"pointer": f"/{error.argument}", "detail": str(error)}]
    if isinstance(error, science.InputError) and error.argument is not None:
        pointer = f"/{error.argument}" + (f"/{error.row}" if error.row is not None else "")
        return [{"pointer": pointer, "detail": str(error)}]
    return []
