"""Bodies in: JSON, safetensors, forms and single pictures, all read into the same models."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import torch
from anyio import to_thread
from fastapi import Request
from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from safetensors import SafetensorError
from safetensors.torch import load
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from torch import Tensor

from service.api.json_bodies import Kept, parse_json
from service.api.validation import RequestBody, pointer_of, validate
from service.errors import InvalidFieldsError, MalformedBodyError, UnsupportedMediaError

__all__ = ["SAFETENSORS", "Upload", "accepts", "body", "body_bytes", "header"]

SAFETENSORS = "application/x-safetensors"
_IMAGES = ("image/jpeg", "image/png", "image/webp")

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_MAX_TEXT_BYTES = 16 * 2**20  # of one text in a form
_EPILOGUE_BYTES = 256  # that may follow its closing boundary

# Smaller bodies are parsed faster than a thread is woken; of safetensors only the header is parsed.
_INLINE_BYTES = 16 * 1024
_INLINE_TENSOR_BYTES = 256 * 1024

Model = TypeVar("Model", bound=RequestBody)
_Files = dict[str, list["Upload"]]


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that came as bytes, in a form or as the whole body."""

    data: bytes


def body(
    model: type[Model], *, image: str | None = None, kept: Kept | None = None
) -> Callable[[Request], Awaitable[Model]]:
    """Return a dependency that reads a request's body into a model, whatever media type it comes in.

    Args:
        model: what the fields must fit.
        image: the field that takes the pictures of a form or of an image body; None where there is none.
        kept: gives what of the fields is stored as it came, if anything is; see `parse_json`.

    Raises:
        MalformedBodyError: the body is not what its Content-Type says.
        UnsupportedMediaError: a Content-Type that is not read here.
        InvalidFieldsError: fields that do not fit the model, or in a query string that nobody reads.
    """

    async def read(request: Request) -> Model:
        encoding = header(request, b"content-encoding") or "identity"
        if encoding != "identity":
            raise UnsupportedMediaError(
                f"Content-Encoding {encoding!r} is not read here; send the body as it is."
            )
        media_type = (
            (header(request, b"content-type") or "application/json").partition(";")[0].strip().lower()
        )
        if media_type.startswith("image/") and image is not None:
            files = {image: [Upload(await _whole(request))]}
            return _from_form(files, request.query_params.multi_items(), model, kept)
        _refuse_query(request)
        if media_type == "application/json":
            data = await _whole(request)
            return await _off_loop(lambda: _from_json(data, model, kept), small=len(data) <= _INLINE_BYTES)
        if media_type == SAFETENSORS:
            data = await _whole(request)
            small = int.from_bytes(data[:8], "little") <= _INLINE_BYTES and len(data) <= _INLINE_TENSOR_BYTES
            return await _off_loop(lambda: _from_safetensors(data, model, kept), small=small)
        if media_type == "multipart/form-data":
            files, texts = await _form(request, image)
            return await to_thread.run_sync(_from_form, files, texts, model, kept)
        readable = ["application/json", SAFETENSORS, "multipart/form-data", *([*_IMAGES] if image else [])]
        hint = ""
        if "urlencoded" in media_type:
            hint = " With curl, add -H 'Content-Type: application/json'"
            hint += ", or image/jpeg for a picture." if image else "."
        raise UnsupportedMediaError(
            f"A body of type {media_type!r} is not read here; send {', '.join(readable)}.{hint}"
        )

    return read


def accepts(
    model: type[BaseModel], *, image: str | None = None, files: Sequence[str] = (), required: bool = True
) -> dict[str, Any]:
    """Return the OpenAPI description of a body that `body(model, image=image)` reads.

    Args:
        model: what the fields must fit.
        image: as for `body`.
        files: the fields that take pictures as files of a form, where `image` is not the only one.
        required: whether there must be a body at all.
    """
    binary = {"schema": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}},
        SAFETENSORS: binary,
    }
    if image is not None or files:
        several = {"type": "array", "items": binary["schema"]}
        properties = dict.fromkeys([*files, *([image] if image else [])], several)
        content["multipart/form-data"] = {"schema": {"type": "object", "properties": properties}}
    if image is not None:
        content |= dict.fromkeys(_IMAGES, binary)
    return {"requestBody": {"required": required, "content": content}}


def header(request: Request, name: bytes) -> str:
    """Return a header of a request by its name in lower case, "" where it has none."""
    value: bytes
    for key, value in request.scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return ""


def body_bytes(request: Request) -> int:
    """Return how long a request's body was; of forms and what was not read here, as if it were long."""
    length: int = request.scope["state"].get("body_bytes", 2**63)
    return length


async def _whole(request: Request) -> bytes:
    """Return a request's body.

    Raises:
        ClientDisconnect: the client left before it was whole.
    """
    pieces: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            request.scope["state"]["body_bytes"] = len(data)
            return data


def _refuse_query(request: Request) -> None:
    """Refuse what stands in the query string where the body has the fields: it would not be looked at.

    Raises:
        InvalidFieldsError: something does.
    """
    if request.scope["query_string"] and (names := list(request.query_params)):
        message = "It stands in the query string, and this body has its fields within: put it in there."
        raise InvalidFieldsError(f"{names[0]}: {message}", [(f"/query/{name}", message) for name in names])


async def _off_loop(parse: Callable[[], Model], *, small: bool) -> Model:
    """Parse small bodies here and large ones in a thread."""
    return parse() if small else await to_thread.run_sync(parse)


def _from_json(data: bytes, model: type[Model], kept: Kept | None) -> Model:
    return validate(model, parse_json(data, kept))


def _from_safetensors(data: bytes, model: type[Model], kept: Kept | None) -> Model:
    """Read tensors as the fields of their names, and the metadata's "json" as all others."""
    try:
        tensors = load(data)
        header_bytes = int.from_bytes(data[:8], "little")
        metadata = orjson.loads(data[8 : 8 + header_bytes]).get("__metadata__", {})
    except (SafetensorError, orjson.JSONDecodeError, KeyError, RuntimeError) as error:
        raise MalformedBodyError(f"The body is not a safetensors file: {error}.") from error
    fields = parse_json(metadata["json"].encode(), kept) if "json" in metadata else {}
    if not isinstance(fields, dict):
        raise MalformedBodyError('The metadata\'s "json" must be a JSON object with the other fields.')
    for name, tensor in tensors.items():
        if name in fields:
            raise MalformedBodyError(f"The field {name!r} comes twice: as a tensor and in the metadata.")
        fields[name] = _usable(name, tensor)
    return validate(model, fields)


def _usable(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor in a dtype that torch computes with."""
    if tensor.is_complex() or tensor.dtype == torch.bool:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise MalformedBodyError(f"The tensor {name!r} is of {kind}. Send real numbers, such as float32.")
    if tensor.is_floating_point():
        return tensor if tensor.dtype in _FLOATS else tensor.to(torch.float32)
    return tensor.to(torch.int64)


async def _form(request: Request, image: str | None) -> tuple[_Files, list[tuple[str, str]]]:
    """Return a form's files by field, and its texts in order.

    Files under one of the names that people give to pictures belong to the picture field.
    """
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    tail = b""

    async def watched() -> AsyncGenerator[bytes, None]:
        nonlocal tail
        async for chunk in request.stream():
            tail = (tail + chunk)[-len(boundary) - _EPILOGUE_BYTES :]
            yield chunk
        if b"--" + boundary + b"--" not in tail:  # the parser would leave out what was cut off, silently
            raise MultiPartException("it ends before its closing boundary. Send all of it again.")

    files: _Files = {}
    texts: list[tuple[str, str]] = []
    try:
        form = await MultiPartParser(request.headers, watched(), max_part_size=_MAX_TEXT_BYTES).parse()
    except MultiPartException as error:
        raise MalformedBodyError(f"The form cannot be read: {error.message}") from error
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files.setdefault(_field_of_file(name, image), []).append(Upload(await value.read()))
            else:
                texts.append((name, value))
    finally:
        await form.close()
    return files, texts


def _field_of_file(name: str, image: str | None) -> str:
    """Return the field that a file of a form belongs to; where one takes all pictures, it is that one."""
    if image is None:
        return name
    if name == image or name in _FILE_NAMES:
        return image
    message = f"This is a file. Pictures come as files under {image!r} or 'file', all else as text."
    raise InvalidFieldsError(f"{name}: {message}", [(pointer_of(name), message)])


def _from_form(files: _Files, texts: list[tuple[str, str]], model: type[Model], kept: Kept | None) -> Model:
    """Read files and texts: one that comes once is a value, several times a list; files are always a list."""
    values: dict[str, list[Any]] = {}
    for name, text in texts:
        values.setdefault(name, []).append(_form_value(text, kept))
    both = files.keys() & values.keys()
    if both:
        raise MalformedBodyError(f"The field {min(both)!r} comes both as a file and as text.")
    fields = {name: several[0] if len(several) == 1 else several for name, several in values.items()}
    times = {name: len(several) for name, several in values.items() if len(several) > 1}
    return validate(model, {**fields, **files}, strict=False, times=times)


# What people call the picture in a form, whatever the field is called in JSON.
_FILE_NAMES = frozenset({"file", "files", "image", "images", "file[]", "files[]", "image[]", "images[]"})


def _form_value(text: str, kept: Kept | None) -> Any:
    """Read a form's text as JSON where it is an object or a list, else as the string that it is.

    Numbers stay strings here, so that an identity such as 0042 keeps its zeros; the model turns
    them into numbers where it wants some.
    """
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return parse_json(text.encode(), (lambda value: [value]) if kept else None)
    except MalformedBodyError:
        return text
