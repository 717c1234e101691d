"""What is asked of servers by hand: JSON and safetensors over kept connections."""

import http.client
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from threading import local
from typing import Any

import orjson
from safetensors.numpy import load, save

from benchmarks.gallery.data import Floats, batches

__all__ = [
    "SAFETENSORS",
    "AnswerError",
    "Rest",
    "ask",
    "items_bodies",
    "put_bodies",
    "query_body",
    "send_all",
]

SAFETENSORS = "application/x-safetensors"
_TIMEOUT_S = 600.0


class AnswerError(Exception):
    """A server refused; the message has the status and the beginning of what it said."""


class Rest:
    """One connection to a server on the loopback interface, opened again where it was closed.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)

    def __enter__(self) -> "Rest":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """Send JSON and return the JSON that comes back.

        Raises:
            AnswerError: the status is 300 or above.
        """
        body = b"" if content is None else orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        text = self.send(method, path, body)
        return orjson.loads(text) if text else None

    def send(self, method: str, path: str, body: bytes, **headers: str) -> bytes:
        """Send bytes and return the answer's; `content_type` is the header Content-Type.

        Raises:
            AnswerError: the status is 300 or above.
        """
        given = {"Content-Type": "application/json"} | {
            name.replace("_", "-").title(): value for name, value in headers.items()
        }
        try:
            self._connection.request(method, path, body, given)
            answer = self._connection.getresponse()
            text = answer.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise
        if answer.status >= http.client.MULTIPLE_CHOICES:
            raise AnswerError(f"{method} {path}: {answer.status}: {text[:200].decode(errors='replace')}")
        return text

    def tensors(self, path: str, body: bytes) -> dict[str, Any]:
        """Send safetensors and return those that come back."""
        return load(self.send("POST", path, body, content_type=SAFETENSORS, accept=SAFETENSORS))


def ask(port: int, method: str, path: str, content: Any = None) -> Any:
    """Send JSON over a connection of its own and return the JSON that comes back.

    Raises:
        AnswerError: the status is 300 or above.
    """
    with Rest(port) as rest:
        return rest.ask(method, path, content)


def items_bodies(
    vectors: Floats, size: int, *, first: int = 0, metadata: Sequence[Mapping[str, Any]] | None = None
) -> Iterator[bytes]:
    """Yield requests that enrol the rows as items p0, p1, ..., some at a time, in safetensors."""
    for part in batches(len(vectors), size):
        items: list[dict[str, Any]] = [{"id": f"p{first + row}"} for row in range(part.start, part.stop)]
        if metadata is not None:
            items = [{**item, "metadata": dict(metadata[part.start + i])} for i, item in enumerate(items)]
        yield save({"vector": vectors[part]}, {"json": json.dumps({"items": items})})


def query_body(queries: Floats, k: int, **fields: Any) -> bytes:
    """Return a search for the (Q, D) rows in JSON, without what is stored beside the matches."""
    asked = {"queries": queries, "k": k, "include": [], **fields}
    return orjson.dumps(asked, option=orjson.OPT_SERIALIZE_NUMPY)


def put_bodies(bodies: Iterable[bytes], folder: Path) -> Path:
    """Write each body into a file, and return the list of them for wrk; what is there already stays."""
    listed = folder / "list.txt"
    if not listed.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, body in enumerate(bodies):
            paths.append((folder / f"{number:05}").resolve())
            paths[-1].write_bytes(body)
        listed.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    return listed


def send_all(port: int, path: str, bodies: Iterator[bytes], *, clients: int, content_type: str) -> float:
    """Post bodies, each client one after the other, and return how many seconds that took.

    They are made while others are under way, a few at a time, so that memory stays small.
    """
    own = local()

    def connect() -> None:
        own.rest = connections.enter_context(Rest(port))

    def post(body: bytes) -> None:
        own.rest.send("POST", path, body, content_type=content_type)

    seconds = 0.0
    with ExitStack() as connections, ThreadPoolExecutor(clients, initializer=connect) as pool:
        while some := list(islice(bodies, 8 * clients)):
            began = time.perf_counter()
            list(pool.map(post, some))
            seconds += time.perf_counter() - began
    return seconds
