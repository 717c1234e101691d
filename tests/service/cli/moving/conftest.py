"""A server that notes what is sent to it."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.cli.moving.listening import JsonHandler, listening


class Receiver:
    """A server that takes items, unless one is called `large`, `broken` or `refused`, and notes them."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.numbers: list[tuple[str, int]] = []
        self._lock = threading.Lock()

    def take(self, items: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        ids = [item["id"] for item in items]
        if "broken" in ids:
            return 400, {"detail": "It is no JSON."}
        if "large" in ids:
            return 413, {"detail": "It is too large."}
        if "refused" in ids:
            return 409, {"detail": "Not into this collection."}
        with self._lock:
            self.requests.append(ids)
            self.numbers += [(item["id"], item["metadata"].get("n", 0)) for item in items]
        return 200, {"items": [{"id": one, "identity": None, "status": "created"} for one in ids]}

    def described(self) -> dict[str, Any]:
        """Return the collection that has all of them."""
        with self._lock:
            return {"name": "there", "items": len({name for name, _ in self.numbers}), "fields": {}}


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def url(receiver: Receiver) -> Iterator[str]:
    class Handler(JsonHandler):
        def get(self) -> None:
            self.answer(200, receiver.described())

        def post(self) -> None:
            body = self.body()
            if self.headers["Content-Type"] != "application/json":
                header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
                body = header["__metadata__"]["json"].encode()
            self.answer(*receiver.take(json.loads(body)["items"]))

    with listening(Handler) as at:
        yield at
