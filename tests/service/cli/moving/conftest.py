"""A server that notes what is sent to it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


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
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, receiver.described())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Type"] != "application/json":
                header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
                body = header["__metadata__"]["json"].encode()
            self.answer(*receiver.take(json.loads(body)["items"]))

        def answer(self, status: int, said: dict[str, Any]) -> None:
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()
