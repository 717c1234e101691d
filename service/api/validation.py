"""A request's fields checked against its model, and every fault named by its place in the request."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from service.errors import InvalidFieldsError, MalformedBodyError

__all__ = ["RequestBody", "no_such_field", "pointer_of", "sentence_of", "validate"]


class RequestBody(BaseModel):
    """A request's fields; unknown ones are refused, so that a misspelt option is not silently ignored.

    Attributes:
        also: how the list of its fields goes on for whoever misspells one: what is put into one of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    also: ClassVar[str] = ""


Model = TypeVar("Model", bound=RequestBody)


def pointer_of(*parts: str | int) -> str:
    """Return the JSON pointer of a place in the request.

    >>> pointer_of("items", 3, "image")
    '/items/3/image'
    """
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def validate(
    model: type[Model],
    fields: object,
    *,
    strict: bool = True,
    at: tuple[str | int, ...] = (),
    times: Mapping[str, int] | None = None,
) -> Model:
    """Return the model of these fields, which stand at a place in the request, or say why they do not fit.

    JSON is taken strictly: "5" is no number and 1 is not true. In forms and query strings, where
    everything is text, numbers are read from it, and `times` has the fields that came several times, with how
    often: each is a list then, which a field of one value cannot take.
    """
    if not isinstance(fields, dict):
        raise MalformedBodyError("The body must be a JSON object, {...}, with the fields of this request.")
    try:
        return model.model_validate(fields, strict=strict)
    except ValidationError as error:
        found: dict[str, str] = {}
        for one in error.errors():
            pointer = pointer_of(*at) + _place(one["loc"], fields)
            name = one["loc"][0] if one["loc"] else None
            if times and name in times and one["input"] is fields[name] and _wants_one(one["type"]):
                found[pointer] = f"it came {times[str(name)]} times, and takes one value"
                continue
            sentence = sentence_of(dict(one), model)
            # A field that may be of several types fails once for each.
            found[pointer] = f"{found[pointer]}, or: {sentence}" if pointer in found else sentence
        summary = "; ".join(
            f"{pointer[1:] or 'the body'}: {text}" for pointer, text in list(found.items())[:5]
        )
        raise InvalidFieldsError(f"{summary}.", list(found.items())) from error


def _wants_one(kind: str) -> bool:
    """Return whether pydantic's kind of error is that of a list where one value is wanted."""
    return kind == "literal_error" or (kind.endswith("_type") and kind != "list_type")


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


# pydantic's kinds of error whose own sentence speaks of Python.
_OBJECT = "it must be a JSON object, {...}"
_OURS = {
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "string_unicode": "it holds half a surrogate pair; remove it",
}


def no_such_field(model: type[RequestBody]) -> str:
    """Say that a model has no field of a name, and which it has."""
    return f"there is no such field; there are {', '.join(model.model_fields)}{model.also}"


def sentence_of(error: Mapping[str, Any], model: type[RequestBody] | None = None) -> str:
    """Say what is wrong with a field; name the fields that the model has where one is unknown."""
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1 and model is not None:
        return no_such_field(model)
    if error["type"] in _OURS:
        return _OURS[error["type"]]
    return str(error["ctx"]["error"] if error["type"] == "value_error" else error["msg"])
