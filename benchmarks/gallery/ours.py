"""Lookalike as one of the servers, and what the other scenarios ask of it."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.gallery.client import SAFETENSORS, AnswerError, Rest, ask, items_bodies, query_body, send_all
from benchmarks.gallery.data import Floats
from benchmarks.gallery.plan import K
from benchmarks.gallery.targets import HttpTarget, Place, Running, wait_for

__all__ = [
    "COLLECTION",
    "ITEMS",
    "SEARCH",
    "Lookalike",
    "create",
    "describe",
    "found",
    "serve_command",
    "settled",
]

COLLECTION = "/v1/collections/bench"
ITEMS, SEARCH = f"{COLLECTION}/items", f"{COLLECTION}/search"
_BATCH = 500
_CLIENTS = 4
_BUILT_S = 1_200.0
_SCANNED = 2_000  # rows beside the index that cost a search nothing that can be seen
_POLL_S = 0.2
_STABLE = 3  # polls
_UNCHANGED = 50  # polls, after which what is scanned is as little as it will be
_EFFORTS = (0, 128, 512)  # each needs another collection


class Lookalike(HttpTarget):
    """This service, with the index that it chooses."""

    title = "Lookalike"
    key = "lookalike"

    def missing(self, place: Place) -> str:
        """Return nothing: it is here."""
        return ""

    def command(self, place: Place, port: int) -> list[str]:
        """Return what starts it."""
        return serve_command(place.folder, port)

    def wait(self, running: Running) -> None:
        """Wait until it is ready and its index, where it has one, is built."""
        wait_for(running, "GET", "/health/ready")
        if running.place.state:
            settled(running.port)

    def fill(self, running: Running, vectors: Floats) -> None:
        """Make the collection, enrol every row, and wait for the index."""
        self._fill(running, vectors, {})

    def efforts(self, running: Running) -> Sequence[int]:
        """Return 0, its own choice, and then what is asked for by name."""
        return _EFFORTS

    def tune(self, running: Running, effort: int, vectors: Floats) -> None:
        """Make the collection again where it is to search otherwise than it chose."""
        if effort:
            kind = running.place.state["index"]["chosen"]
            ask(running.port, "DELETE", COLLECTION)
            self._fill(running, vectors, {"type": kind, "ef_search": effort})

    def path(self, running: Running) -> str:
        """Return the path of a search."""
        return SEARCH

    def body(self, query: Floats, effort: int) -> dict[str, Any]:
        """Return a search for the (D,) query."""
        return {"queries": [query], "k": K, "include": []}

    def ids(self, answer: Any) -> list[str]:
        """Return the ids in an answer."""
        return [match["id"] for match in answer["results"][0]["matches"]]

    def about(self, running: Running) -> str:
        """Return its index in words."""
        effort = running.place.state.get("effort")
        return describe(running.place.state["index"]) + (f", ef_search {effort}" if effort else "")

    def _fill(self, running: Running, vectors: Floats, index: dict[str, Any]) -> None:
        create(running.port, vectors.shape[1], **({"index": index} if index else {}))
        bodies = items_bodies(vectors, _BATCH)
        send_all(running.port, ITEMS, bodies, clients=_CLIENTS, content_type=SAFETENSORS)
        running.place.state["index"] = settled(running.port)


def serve_command(data: Path, port: int) -> list[str]:
    """Return what starts the service on a folder."""
    given = ["--port", str(port), "--data-dir", str(data.resolve()), "--engine", "pytorch"]
    given += ["--log-level", "warning"]  # as the others, it writes no line for each request
    return [sys.executable, "-m", "service.cli", "serve", *given]


def create(port: int, dimension: int, **options: Any) -> None:
    """Make the collection, by cosine distance."""
    ask(port, "PUT", COLLECTION, {"dimension": dimension, "metric": "cosine", **options})


def settled(port: int) -> dict[str, Any]:
    """Wait until the index is built and little is scanned beside it, and return its state.

    Raises:
        AnswerError: it is not within 20 minutes.
    """
    deadline, good, unchanged, before = time.monotonic() + _BUILT_S, 0, 0, -1
    while time.monotonic() < deadline:
        index: dict[str, Any] = ask(port, "GET", COLLECTION)["index"]
        ready, pending = index["state"] == "ready", index.get("pending", 0)
        good = good + 1 if ready and (_flat(index) or pending <= _SCANNED) else 0
        unchanged, before = (unchanged + 1 if ready and pending == before else 0), pending
        if good >= _STABLE or unchanged >= _UNCHANGED:  # and not only between two builds
            return {**index, "chosen": index.get("chosen") or index["type"]}
        time.sleep(_POLL_S)
    raise AnswerError(f"the index was not built within {_BUILT_S:.0f} s: {index}")


def describe(index: dict[str, Any]) -> str:
    """Return an index's state in a few words."""
    names = ("m", "ef_construction", "ef_search", "nlist", "nprobe", "quantization")
    known = {**index, **index.get("parameters", {})}
    given = ", ".join(f"{name} {known[name]}" for name in names if known.get(name) not in (None, "none", 0))
    return f"{index['chosen']}{', ' if given else ''}{given}"


def found(port: int, queries: Floats, **fields: Any) -> list[list[str]]:
    """Return the ids that a search finds for each query, asked one after the other."""
    with Rest(port) as rest:
        answers = [rest.send("POST", SEARCH, query_body(query[None], K, **fields)) for query in queries]
    return [[match["id"] for match in one] for one in map(_matches, answers)]


def _matches(answer: bytes) -> list[dict[str, Any]]:
    matches: list[dict[str, Any]] = orjson.loads(answer)["results"][0]["matches"]
    return matches


def _flat(index: dict[str, Any]) -> bool:
    """Say whether every item is scanned anyway, in which case nothing is pending."""
    kind: str = index.get("chosen") or index["type"]
    return kind == "flat"
