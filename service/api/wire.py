"""Bodies in and out: JSON, safetensors, forms and single pictures, behind one pair of functions."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import orjson
from anyio import to_thread
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import save
from safetensors.torch import load
from starlette.datastructures import UploadFile

from service.errors import InvalidFieldsError, MalformedBodyError, UnsupportedMediaError

__all__ = ["SAFETENSORS", "Upload", "accepts", "answers", "body", "pointer_of", "respond", "validate"]

SAFETENSORS = "application/x-safetensors"
_IMAGES = ("image/jpeg", "image/png", "image/webp")

# Smaller bodies are parsed faster than a thread is woken.
_INLINE_BYTES = 16 * 1024

Model = TypeVar("Model", bound=BaseModel)
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that came as bytes, in a form or as the whole body."""

    data: bytes


def body(model: type[Model], *, image: str | None = None) -> Callable[[Request], Awaitable[Model]]:
    """Return a dependency that reads a request's body into a model, whatever media type it comes in.

    Args:
        model: what the fields must fit.
        image: the field that takes the pictures of a form or of an image body; None where there is none.

    Raises:
        MalformedBodyError: the body is not what its Content-Type says.
        UnsupportedMediaError: a Content-Type that is not read here.
        InvalidFieldsError: fields that do not fit the model.
    """

    async def read(request: Request) -> Model:
        media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if media_type == "application/json":
            return await _off_loop(_from_json, await request.body(), model)
        if media_type == SAFETENSORS:
            return await _off_loop(_from_safetensors, await request.body(), model)
        if media_type == "multipart/form-data":
            return validate(model, await _form_fields(request, image), strict=False)
        if media_type.startswith("image/") and image is not None:
            fields = {name: _form_value(value) for name, value in request.query_params.items()}
            return validate(model, {**fields, image: [Upload(await request.body())]}, strict=False)
        readable = ["application/json", SAFETENSORS, "multipart/form-data", *([*_IMAGES] if image else [])]
        hint = " With curl, add -H 'Content-Type: application/json'." if "urlencoded" in media_type else ""
        raise UnsupportedMediaError(
            f"A body of type {media_type!r} is not read here; send {', '.join(readable)}.{hint}"
        )

    return read


def accepts(model: type[BaseModel], *, image: str | None = None, required: bool = True) -> dict[str, Any]:
    """Return the OpenAPI description of a body that `body(model, image=image)` reads."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}},
        SAFETENSORS: binary,
    }
    if image is not None:
        files = {"type": "array", "items": binary["schema"]}
        form = {"type": "object", "properties": {image: files}, "required": [image]}
        content |= {"multipart/form-data": {"schema": form}, **dict.fromkeys(_IMAGES, binary)}
    return {"requestBody": {"required": required, "content": content}}


def answers(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of an answer that `respond` gives, JSON or safetensors."""
    return {
        200: {"model": model, "content": {SAFETENSORS: {"schema": {"type": "string", "format": "binary"}}}}
    }


async def respond(request: Request, answer: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return an answer as the client asked for it.

    In JSON, arrays are lists of numbers. In safetensors they are tensors under the name of their
    field (those of a list's entries stacked in order) and the rest is JSON in the metadata.

    Args:
        request: its Accept header decides.
        answer: JSON values, with NumPy arrays where there are numbers in bulk.
        status: the status of the answer.
    """
    if SAFETENSORS in request.headers.get("accept", "").lower():
        content = await to_thread.run_sync(_to_safetensors, answer)
        return Response(content, status_code=status, media_type=SAFETENSORS)
    content = await to_thread.run_sync(_to_json, answer)
    return Response(content, status_code=status, media_type="application/json")


def pointer_of(*parts: str | int) -> str:
    """Return the JSON pointer of a place in the request.

    >>> pointer_of("items", 3, "image")
    '/items/3/image'
    """
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def validate(model: type[Model], fields: object, *, strict: bool = True) -> Model:
    """Return the model of these fields, or say which do not fit and why.

    JSON is taken strictly: "5" is no number and 1 is not true. In forms and query strings, where
    everything is text, numbers are read from it.
    """
    if not isinstance(fields, dict):
        raise MalformedBodyError("The body must be a JSON object, {...}, with the fields of this request.")
    try:
        return model.model_validate(fields, strict=strict)
    except ValidationError as error:
        found: dict[str, str] = {}
        for one in error.errors():
            pointer, sentence = _place(one["loc"], fields), _sentence(dict(one), model)
            # A field that may be of several types fails once for each.
            found[pointer] = f"{found[pointer]}, or: {sentence}" if pointer in found else sentence
        summary = "; ".join(
            f"{pointer[1:] or 'the body'}: {text}" for pointer, text in list(found.items())[:5]
        )
        raise InvalidFieldsError(f"{summary}.", list(found.items())) from error


def _place(location: tuple[str | int, ...], fields: object) -> str:
    """Return the pointer of pydantic's location, without the names of types that it adds in unions."""
    parts: list[str | int] = []
    node: Any = fields
    for part in location:
        if isinstance(node, dict):
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            break
        parts.append(part)
    return pointer_of(*parts)


async def _off_loop(parse: Callable[[bytes, type[Model]], Model], data: bytes, model: type[Model]) -> Model:
    """Parse small bodies here and large ones in a thread."""
    if len(data) <= _INLINE_BYTES:
        return parse(data, model)
    return await to_thread.run_sync(parse, data, model)


def _from_json(data: bytes, model: type[Model]) -> Model:
    return validate(model, _parse_json(data))


def _parse_json(data: bytes) -> Any:
    """Parse JSON; NaN and Infinity, which JSON lacks and many clients send, become such numbers.

    They are refused later by whoever knows in which row they stand.
    """
    if not data.strip():
        return {}  # no body asks for the defaults; a model with required fields will say so
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if b"NaN" in data or b"Infinity" in data:
            try:
                return json.loads(data)
            except (ValueError, RecursionError):
                raise MalformedBodyError(f"The body is not JSON: {error}.") from error
        raise MalformedBodyError(f"The body is not JSON: {error}.") from error


def _from_safetensors(data: bytes, model: type[Model]) -> Model:
    """Read tensors as the fields of their names, and the metadata's "json" as all others."""
    try:
        tensors = load(data)
        header_bytes = int.from_bytes(data[:8], "little")
        metadata = orjson.loads(data[8 : 8 + header_bytes]).get("__metadata__", {})
    except (SafetensorError, orjson.JSONDecodeError, KeyError, RuntimeError) as error:
        raise MalformedBodyError(f"The body is not a safetensors file: {error}.") from error
    fields = _parse_json(metadata["json"].encode()) if "json" in metadata else {}
    if not isinstance(fields, dict):
        raise MalformedBodyError('The metadata\'s "json" must be a JSON object with the other fields.')
    for name, tensor in tensors.items():
        if name in fields:
            raise MalformedBodyError(f"The field {name!r} comes twice: as a tensor and in the metadata.")
        fields[name] = tensor
    return validate(model, fields)


async def _form_fields(request: Request, image: str | None) -> dict[str, Any]:
    """Read a form: files are pictures under their field's name, texts are JSON or plain strings.

    A field that comes once is a value, one that comes several times a list; files are always a
    list. Files under another name than the request's fields go to the picture field.
    """
    async with request.form(max_part_size=16 * 2**20) as form:
        files: dict[str, list[Upload]] = {}
        texts: dict[str, list[Any]] = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                target = image if image is not None and name in _FILE_NAMES else name
                files.setdefault(target, []).append(Upload(await value.read()))
            else:
                texts.setdefault(name, []).append(_form_value(value))
    both = files.keys() & texts.keys()
    if both:
        raise MalformedBodyError(f"The form's field {min(both)!r} comes both as a file and as text.")
    return {**{name: values[0] if len(values) == 1 else values for name, values in texts.items()}, **files}


# What people call the picture in a form, whatever the field is called in JSON.
_FILE_NAMES = frozenset({"file", "files", "image", "images", "file[]", "files[]", "image[]", "images[]"})


def _form_value(text: str) -> Any:
    """Read a form's text as the string that it is, or as JSON where it is an object or a list.

    Numbers stay strings here, so that an identity such as 0042 keeps its zeros; the model turns
    them into numbers where it wants some.
    """
    return _parse_json(text.encode()) if text.lstrip()[:1] in ("{", "[") else text


def _sentence(error: dict[str, Any], model: type[BaseModel]) -> str:
    """Say what is wrong with a field; name the fields that there are where one is unknown."""
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"there is no such field; there are {', '.join(model.model_fields)}"
    return str(error["msg"])


def _to_json(answer: Mapping[str, Any]) -> bytes:
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _to_safetensors(answer: Mapping[str, Any]) -> bytes:
    taken = _TakenArrays()
    rest = taken.take(answer)
    return save(taken.tensors(), metadata={"json": orjson.dumps(rest).decode()})


class _TakenArrays:
    """Arrays taken out of an answer, under the names of their fields."""

    def __init__(self) -> None:
        self._arrays: dict[str, list[_Array]] = {}
        self._listed: set[str] = set()

    def take(self, value: Any, *, in_list: bool = False) -> Any:
        """Return the value without the arrays in it."""
        if isinstance(value, list):
            return [self.take(entry, in_list=True) for entry in value]
        if not isinstance(value, Mapping):
            return value
        for name, entry in value.items():
            if isinstance(entry, np.ndarray):
                self._arrays.setdefault(name, []).append(entry)
                self._listed |= {name} if in_list else set()
        return {
            name: self.take(entry, in_list=in_list)
            for name, entry in value.items()
            if not isinstance(entry, np.ndarray)
        }

    def tensors(self) -> dict[str, _Array]:
        """Return them by name; those of a list's entries stacked in order."""
        return {
            name: np.ascontiguousarray(np.stack(arrays) if name in self._listed else arrays[0])
            for name, arrays in self._arrays.items()
        }
