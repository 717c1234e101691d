"""Samples: vectors or pictures, wherever an endpoint takes one, by the same code."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar, cast

import numpy as np
import torch
from anyio import to_thread
from fastapi import Request
from pydantic import PlainValidator, WithJsonSchema
from torch import Tensor

from models.engines import Embeddings
from models.errors import ImageError, ShapeError
from service.api.attended import awaited, deadline_of
from service.api.state import services_of
from service.api.vectors import located, vectors_of
from service.api.wire import Upload
from service.encoder import HostedEncoder
from service.errors import InvalidFieldsError
from service.jobs import Look
from service.seen import Seen
from service.urls.places import is_url

__all__ = [
    "SAMPLE_SCHEMA",
    "Numbers",
    "Picture",
    "Sample",
    "Samples",
    "as_sample",
    "images_error",
    "is_image",
    "resolve",
    "see_all",
]

Found = TypeVar("Found")

_AS_USUAL = Look()

_IMAGE = (
    "A data URI, or bare base64; or an http(s) URL, where the server fetches pictures from its host (from "
    "none unless LOOKALIKE_URL_HOSTS is set)."
)
SAMPLE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "array", "items": {"type": "number"}, "minItems": 1, "title": "Vector"},
        {"type": "string", "minLength": 1, "title": "Image", "description": _IMAGE},
    ]
}


def as_sample(value: object) -> object:
    """Let through what can be a sample; its content is looked at when it is resolved."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Upload):
        return value[0]  # a form's file, where one sample is asked for
    if isinstance(value, Tensor) and value.ndim != 1:
        if value.ndim != 2 or len(value) != 1:
            raise ValueError(f"the tensor of one sample must be (D,) or (1, D); it is {tuple(value.shape)}")
        return value[0]
    if isinstance(value, (str, list, Upload, Tensor)):
        return value
    raise ValueError("a sample is a vector [numbers] or an image (a data URI or base64)")


def _as_picture(value: object) -> object:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Upload):
        return value[0]
    if isinstance(value, (str, Upload)):
        return value
    raise ValueError("an image is a data URI or base64")


def _as_samples(value: object) -> object:
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, list):
        raise ValueError("a list of samples is needed: [[numbers], ...] or [image, ...]")
    return value


# One sample: a list of numbers, a 1-D tensor, a string, or an Upload.
Sample = Annotated[Any, PlainValidator(as_sample), WithJsonSchema(SAMPLE_SCHEMA)]
# Several: a list of samples, or an (N, D) tensor.
Samples = Annotated[
    Any,
    PlainValidator(_as_samples),
    WithJsonSchema({"type": "array", "items": SAMPLE_SCHEMA, "minItems": 1}),
]
# One picture: a string or an Upload.
Picture = Annotated[Any, PlainValidator(_as_picture), WithJsonSchema(SAMPLE_SCHEMA["anyOf"][1])]
# A vector of a request that takes no image: a list of numbers or a 1-D tensor.
Numbers = Annotated[Any, PlainValidator(as_sample), WithJsonSchema(SAMPLE_SCHEMA["anyOf"][0])]


def is_image(sample: object) -> bool:
    """Say whether a sample is a picture."""
    return isinstance(sample, (str, Upload))


def _image_bytes(sample: object) -> bytes:
    """Return the file's bytes of a picture that came as a string or an upload, and not as a URL.

    Raises:
        ImageError: a string that is no base64.
    """
    if isinstance(sample, Upload):
        return sample.data
    assert isinstance(sample, str)
    text = sample.strip()
    if text[:5].lower() == "data:":
        header, comma, text = text.partition(",")
        if not comma or not header.lower().endswith(";base64"):
            raise ImageError("The data URI must look like data:image/jpeg;base64,....")
    words = text.split()
    compact = "".join(words).translate(str.maketrans("-_", "+/"))
    try:
        if len(words) > len(text.splitlines()):  # words, which without their spaces could pass for base64
            raise ValueError("spaces within a line")
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except ValueError as error:  # binascii.Error among them
        raise ImageError(
            "The string is no picture: it is neither a data URI nor base64. Send the file's bytes in base64; "
            "texts are not embedded here."
        ) from error


async def resolve(
    request: Request,
    samples: object,
    encoder: HostedEncoder,
    at: Callable[[int], str],
    *,
    look: Look = _AS_USUAL,
) -> Tensor:
    """Return samples as the rows of one tensor, pictures embedded.

    Args:
        request: of the client that waits; once it has left, its pictures are dropped.
        samples: a list of samples, or an (N, D) tensor.
        encoder: embeds the pictures.
        at: gives the JSON pointer of the n-th sample, for errors.
        look: which face of a photograph counts; of all faces the largest does.

    Returns:
        (N, D) with N >= 1: float64 and half precisions where the client sent such a tensor, else float32.

    Raises:
        ClientDisconnect, DeadlineError: nobody waits any more.
        InvalidFieldsError: no samples, entries that are none, rows of different lengths, or pictures
            that cannot be used, each with its pointer.
        OptionError: a face is to be chosen, if only of vectors, and the encoder finds none.
    """
    if isinstance(samples, Tensor):
        if look.faces is not None:  # refused as it is with a list
            await _embed_all(request, [], encoder, look)
        if samples.ndim != 2 or 0 in samples.shape:
            message = f"The tensor must be (N, D) with N and D at least 1; it is {tuple(samples.shape)}."
            raise located(at(0).rpartition("/")[0], message, ShapeError)
        return samples
    listed = cast("list[object]", samples)
    if not listed:
        message = "There is no sample in it. Give at least one vector or image."
        raise located(at(0).rpartition("/")[0], message, ShapeError)
    pictures = [sample for sample in listed if is_image(sample)]
    if not pictures and look.faces is None:
        return torch.from_numpy(await vectors_of(request, listed, at))
    embedded = iter(await _embed_all(request, pictures, encoder, look))
    rows = [next(embedded) if is_image(sample) else sample for sample in listed]
    errors = [(at(position), row) for position, row in enumerate(rows) if isinstance(row, ImageError)]
    if errors:
        raise images_error(errors, len(listed))
    plain = [row.tolist() if isinstance(row, np.ndarray) else row for row in rows]
    return torch.from_numpy(await vectors_of(request, plain, at))


async def _embed_all(
    request: Request, pictures: Sequence[object], encoder: HostedEncoder, look: Look
) -> list[Embeddings | ImageError]:
    """Return one embedding or error for each picture, in order, while the request's client waits for them."""
    return await _for_files(
        request, pictures, lambda files: encoder.embed(files, look, deadline=deadline_of(request))
    )


async def see_all(
    request: Request, pictures: Sequence[object], encoder: HostedEncoder, look: Look
) -> list[Seen | ImageError]:
    """Return what each picture came to, or its error, in order, while the request's client waits for it."""
    return await _for_files(
        request, pictures, lambda files: encoder.see(files, look, deadline=deadline_of(request))
    )


async def _for_files(
    request: Request,
    pictures: Sequence[object],
    work: Callable[[list[bytes]], Awaitable[list[Found | ImageError]]],
) -> list[Found | ImageError]:
    """Return what the work gives for the files of the pictures, each at the place of its picture."""
    files = await _files_of(request, pictures)
    good = [file for file in files if isinstance(file, bytes)]
    found = iter(await awaited(request, work(good)))
    return [next(found) if isinstance(file, bytes) else file for file in files]


async def _files_of(request: Request, pictures: Sequence[object]) -> list[bytes | ImageError]:
    """Return each picture's file or the error that it is, URLs fetched, while the request's client waits.

    Raises:
        ClientDisconnect, DeadlineError: nobody waits any more.
        OverloadedError, TooLargeError: too much is being fetched, or would be.
    """
    urls = [_url(picture) for picture in pictures]
    wanted = [url for url in urls if url is not None]
    if not wanted:
        return await _files(pictures)
    fetching = services_of(request).urls.fetch(wanted, request.state.request_id)
    fetched = iter(await awaited(request, fetching))
    sent = [picture for picture, url in zip(pictures, urls, strict=True) if url is None]
    files = iter(await _files(sent))
    return [next(files) if url is None else next(fetched) for url in urls]


def _url(picture: object) -> str | None:
    """Return a picture's URL; None where it is something else, which may be long and is not copied."""
    if isinstance(picture, str) and is_url(picture[:64].lstrip()):
        return picture.strip()
    return None


async def _files(pictures: Sequence[object]) -> list[bytes | ImageError]:
    """Return the files of pictures or the errors that they are; bytes need no thread to be looked at."""
    if all(isinstance(picture, Upload) for picture in pictures):
        return [_file_or_error(picture) for picture in pictures]
    return await to_thread.run_sync(lambda: [_file_or_error(picture) for picture in pictures])


def _file_or_error(picture: object) -> bytes | ImageError:
    try:
        return _image_bytes(picture)
    except ImageError as error:
        return error


def images_error(errors: Sequence[tuple[str, ImageError]], count: int) -> InvalidFieldsError:
    """Return the error of a request in which some pictures, at these pointers, cannot be used."""
    kinds = {type(error) for _, error in errors}
    pointer, first = errors[0]
    others = f" ({len(errors)} of {count} pictures cannot be used; `errors` has each.)" if count > 1 else ""
    return InvalidFieldsError(
        f"{pointer}: {first}{others}",
        [(pointer, str(error)) for pointer, error in errors],
        kind=kinds.pop() if len(kinds) == 1 else ImageError,
    )
