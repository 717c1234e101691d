"""Clients that enrol until the server dies, and a ledger of what they sent and what was answered."""

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import httpx2
import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.system.serving import Server

__all__ = ["COLLECTION", "DIMENSION", "Item", "Ledger", "enrol_until_killed"]

COLLECTION = "/v1/collections/gallery"
DIMENSION = 16

Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Item:
    """What was sent of an item: a vector, or a picture's file."""

    id: str
    identity: str
    metadata: dict[str, object]
    vector: npt.NDArray[np.float32] | None
    picture: bytes | None = None

    def body(self) -> dict[str, object]:
        """Return it as a request has it."""
        body: dict[str, object] = {"id": self.id, "identity": self.identity, "metadata": self.metadata}
        if self.picture is not None:
            return {**body, "image": base64.b64encode(self.picture).decode()}
        assert self.vector is not None
        return {**body, "vector": self.vector.tolist()}


@dataclass(slots=True)
class Ledger:
    """What was asked of the server and what it answered, kept by all clients of all rounds.

    Attributes:
        sent: every item of a request that may have arrived.
        requests: the ids of each of those requests.
        answered: the ids that the server said are written.
        deleting, deleted: the ids that it was asked to delete, and said are deleted.
        failures: answers that no request should have got.
    """

    sent: dict[str, Item] = field(default_factory=dict)
    requests: list[list[str]] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    deleting: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enrol(self, client: httpx2.Client, items: list[Item]) -> None:
        """Enrol items in one request."""
        ids = [item.id for item in items]
        with self.lock:
            self.sent |= {item.id: item for item in items}
            self.requests.append(ids)
        answer = client.post(f"{COLLECTION}/items", json={"items": [item.body() for item in items]})
        with self.lock:
            if answer.status_code == 200 and answer.json()["created"] == len(items):
                self.answered |= set(ids)
            else:
                self.failures.append(answer.text)

    def delete(self, client: httpx2.Client, item_id: str) -> None:
        """Delete an item."""
        with self.lock:
            self.deleting.add(item_id)
        answer = client.delete(f"{COLLECTION}/items/{item_id}")
        with self.lock:
            if answer.status_code == 200:
                self.deleted.add(item_id)
            else:
                self.failures.append(answer.text)


def enrol_until_killed(server: Server, ledger: Ledger, round_: int, moment_s: float) -> None:
    """Let four clients write side by side, kill the server after a while, and wait for the clients."""
    writers = [_write_singly, _write_batches, _write_batches, _write_pictures]
    threads = [
        threading.Thread(
            target=_run,
            args=(writer, server, ledger, f"{round_}-{number}", np.random.default_rng([round_, number])),
        )
        for number, writer in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    threading.Event().wait(moment_s)
    server.kill()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()


def _run(
    write: Callable[[httpx2.Client, Ledger, str, Random], None],
    server: Server,
    ledger: Ledger,
    name: str,
    rng: Random,
) -> None:
    """Write one request after another; a connection that breaks is the end."""
    with server.client() as client:
        number = 0
        try:
            while True:
                write(client, ledger, f"{name}-{number}", rng)
                number += 1
        except httpx2.TransportError:
            return


def _write_singly(client: httpx2.Client, ledger: Ledger, name: str, rng: Random) -> None:
    ledger.enrol(client, [_vector_item(name, rng)])


def _write_batches(client: httpx2.Client, ledger: Ledger, name: str, rng: Random) -> None:
    """Write a batch and delete one item of it."""
    batch = [_vector_item(f"{name}-{place}", rng) for place in range(int(rng.integers(2, 60)))]
    ledger.enrol(client, batch)
    ledger.delete(client, batch[0].id)


def _write_pictures(client: httpx2.Client, ledger: Ledger, name: str, rng: Random) -> None:
    ledger.enrol(client, [_picture_item(f"{name}-{place}", rng) for place in range(int(rng.integers(1, 4)))])


def _vector_item(item_id: str, rng: Random) -> Item:
    vector = rng.standard_normal(DIMENSION).astype(np.float32)
    return Item(item_id, f"identity {rng.integers(5)}", _metadata(item_id, rng), vector)


def _picture_item(item_id: str, rng: Random) -> Item:
    """Make a picture of a few coloured patches, unlike any other."""
    patches = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    file = BytesIO()
    patches.resize((64, 48), Image.Resampling.NEAREST).save(file, format="PNG")
    return Item(item_id, f"identity {rng.integers(5)}", _metadata(item_id, rng), None, file.getvalue())


def _metadata(item_id: str, rng: Random) -> dict[str, object]:
    return {"camera": int(rng.integers(1, 7)), "of": item_id, "note": "x" * int(rng.integers(200))}
