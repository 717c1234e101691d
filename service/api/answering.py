"""Answers out: JSON, or safetensors where the client asks for it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from anyio import to_thread
from fastapi import Request, Response
from pydantic import BaseModel
from safetensors.numpy import save

from service.api.wire import SAFETENSORS

__all__ = ["answers", "respond"]

_Array = np.ndarray[Any, Any]


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
