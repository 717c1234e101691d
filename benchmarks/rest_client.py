"""A client of the numerical routes that can be timed, and the formats it speaks."""

import http.client
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import orjson
from safetensors.numpy import load, save

__all__ = ["FORMATS", "Arrays", "Client", "Format", "Spread", "Stopwatch", "differing"]

# OpenMP's threads of the one side spin for a moment after their work, and would slow the other.
_PAUSE_S = 0.02

Arrays = dict[str, npt.NDArray[Any]]


class Client:
    """A connection that is opened when it is told to, never by a request: no stopwatch sees it done."""

    def __init__(self, url: str, media_type: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port)
        self._connection.auto_open = 0
        self._headers = {"content-type": media_type, "accept": media_type}

    def connect(self) -> None:
        """Open a fresh connection: the server drops those that were idle for long."""
        self._connection.close()
        self._connection.connect()

    def post(self, path: str, content: bytes) -> bytes:
        """Send a request; return the answer's body.

        Raises:
            RuntimeError: the answer is an error.
            http.client.HTTPException, OSError: there is no connection, or it was lost.
        """
        self._connection.request("POST", path, content, self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path} answered {answer.status}: {body[:500]!r}")
        return body


@dataclass(frozen=True, slots=True)
class Format:
    """How a client writes requests and reads answers.

    Attributes:
        name: as the tables have it.
        media_type: of both.
        pack: (fields, arrays) -> the request's body.
        unpack: (the answer's body, names) -> what it has under these names.
        every: in one of how many rounds it is measured.
    """

    name: str
    media_type: str
    pack: Callable[[Mapping[str, Any], Arrays], bytes]
    unpack: Callable[[bytes, Sequence[str]], Arrays]
    every: int = 1


def _from_safetensors(content: bytes, names: Sequence[str]) -> Arrays:
    """Return tensors, and numbers from the JSON in the metadata."""
    tensors = load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    values = json.loads(header["__metadata__"]["json"])
    return {name: tensors[name] if name in tensors else np.array(values[name]) for name in names}


def _from_json(content: bytes, names: Sequence[str]) -> Arrays:
    values = orjson.loads(content)
    return {name: np.array(values[name], dtype=np.float32) for name in names}


# JSON's figures are larger, and so is the time that they take to measure.
FORMATS = (
    Format(
        "safetensors",
        "application/x-safetensors",
        lambda fields, arrays: save(arrays, {"json": json.dumps(fields)}),
        _from_safetensors,
    ),
    Format(
        "JSON",
        "application/json",
        lambda fields, arrays: orjson.dumps({**fields, **arrays}, option=orjson.OPT_SERIALIZE_NUMPY),
        _from_json,
        every=3,
    ),
)


class Spread(NamedTuple):
    """The quartiles of some times, in ms."""

    low: float
    median: float
    high: float


class Stopwatch:
    """Seconds by name, and bytes by name."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self.bytes: dict[str, int] = {}

    def time(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do work after a pause, and remember how long it took."""
        time.sleep(_PAUSE_S)
        started = time.perf_counter()
        outcome = work(*arguments)
        self.note(name, time.perf_counter() - started)
        return outcome

    def note(self, name: str, seconds: float) -> None:
        """Remember how long something took."""
        self._seconds[name].append(seconds)

    def spread(self, name: str) -> Spread:
        """Return the quartiles of what bears this name."""
        return Spread(*(float(ms) for ms in np.percentile(self._seconds[name], (25, 50, 75)) * 1000))

    def count(self, name: str) -> int:
        """Return how often what bears this name was timed."""
        return len(self._seconds[name])

    def forget(self) -> None:
        """Forget the times of the warm-up."""
        self._seconds.clear()


def differing(found: Arrays, expected: Arrays) -> list[str]:
    """Return the names under which two answers differ by more than rounding; NaN always does."""
    return [
        name
        for name, wanted in expected.items()
        if found[name].shape != wanted.shape
        or not np.allclose(found[name], wanted, rtol=1e-5, atol=1e-6 * float(np.abs(wanted).max()))
    ]
