"""Answers out: JSON, or safetensors where the client asks for it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from anyio import to_thread
from fastapi import Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from models.interruption import checkpoint
from service.api.wire import SAFETENSORS, header

__all__ = ["answers", "render", "respond", "wants_safetensors"]

_Array = np.ndarray[Any, Any]

_PIECE_BYTES = 256 * 1024
_KINDS = {"f": "F", "i": "I", "u": "U"}  # NumPy's; the number of bits follows
_ALIGNMENT = 8  # of a safetensors header, so that its tensors can be used where they lie


def answers(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of an answer that `render` gives, JSON or safetensors."""
    return {
        200: {"model": model, "content": {SAFETENSORS: {"schema": {"type": "string", "format": "binary"}}}}
    }


async def respond(request: Request, answer: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return an answer as `render` does, in a thread."""
    return await to_thread.run_sync(lambda: render(request, answer, status=status))


def render(request: Request, answer: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return an answer as the client asked for it; on the event loop only brief ones, as it takes its time.

    In JSON, arrays are lists of numbers. In safetensors they are tensors under the name of their
    field (those of a list's entries stacked in order) and the rest is JSON in the metadata.

    Args:
        request: its Accept header decides.
        answer: JSON values, with NumPy arrays where there are numbers in bulk.
        status: the status of the answer.

    Raises:
        InterruptedWorkError: nobody waits for it any more.
    """
    checkpoint()
    if wants_safetensors(request):
        return _InPieces(_to_safetensors(answer), status, SAFETENSORS)
    return _InPieces(_to_json(answer), status, "application/json")


def wants_safetensors(request: Request) -> bool:
    """Say whether the client asks for its answer as safetensors."""
    return SAFETENSORS in header(request, b"accept").lower()


class _InPieces(Response):
    """A body of several buffers, sent in pieces: no second copy of a large one waits for a slow client."""

    def __init__(self, buffers: Sequence[bytes | memoryview], status: int, media_type: str) -> None:
        self._buffers = buffers
        length = sum(map(len, buffers))
        # What Starlette's would come to: of all that, a search needs these alone.
        self.status_code, self.background = status, None
        self.raw_headers = [(b"content-length", b"%d" % length), (b"content-type", media_type.encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        try:
            await send(start)
            last: bytes | memoryview = b""
            for piece in self._pieces():
                if last:
                    await send({"type": "http.response.body", "body": last, "more_body": True})
                last = piece
            await send({"type": "http.response.body", "body": last})
        except OSError as error:  # how a server may say that the client has left
            raise ClientDisconnect from error

    def _pieces(self) -> Iterator[bytes | memoryview]:
        for buffer in self._buffers:
            if len(buffer) <= _PIECE_BYTES:
                yield buffer
                continue
            whole = memoryview(buffer)
            for begin in range(0, len(whole), _PIECE_BYTES):
                yield whole[begin : begin + _PIECE_BYTES]


def _to_json(answer: Mapping[str, Any]) -> list[bytes]:
    return [orjson.dumps(answer, _in_rows, orjson.OPT_SERIALIZE_NUMPY)]


def _in_rows(value: object) -> _Array:
    """Return an array as orjson takes it, which refuses those whose rows do not lie one after another."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} is nothing that JSON has.")
    return np.ascontiguousarray(value)


def _to_safetensors(answer: Mapping[str, Any]) -> list[bytes | memoryview]:
    """Return a safetensors file as its header and its arrays, which are not copied.

    Source: the format's description, https://github.com/huggingface/safetensors#format.
    """
    taken = _TakenArrays()
    try:
        text = orjson.dumps(answer)  # takes a tenth of looking for arrays, which most answers have none of
    except TypeError:
        text = orjson.dumps(taken.take(answer))
    header: dict[str, Any] = {"__metadata__": {"json": text.decode()}}
    arrays, end = taken.tensors(), 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": _dtype_of(array),
            "shape": array.shape,
            "data_offsets": (end, end := end + array.nbytes),
        }
    text = orjson.dumps(header)
    padding = b" " * (-len(text) % _ALIGNMENT)
    length = (len(text) + len(padding)).to_bytes(8, "little")
    # Joined: to copy a header costs less than to send one buffer more.
    return [b"".join([length, text, padding]), *(_bytes_of(array) for array in arrays.values())]


def _dtype_of(array: _Array) -> str:
    return "BOOL" if array.dtype.kind == "b" else f"{_KINDS[array.dtype.kind]}{8 * array.itemsize}"


def _bytes_of(array: _Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


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
