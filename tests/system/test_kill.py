"""What the server has answered survives `kill -9`, at any moment.

Starting the server takes most of a round's time; `make verify-kill` makes more of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pytest

from models.images import decode
from models.runtime import Encoder, load_encoder
from tests.system.enrolling import COLLECTION, DIMENSION, Item, Ledger, enrol_until_killed
from tests.system.serving import running_server

pytestmark = pytest.mark.system

ROUNDS = int(os.environ.get("KILL_ROUNDS", "4"))
LATEST_KILL_S = 1.2  # a server that is slow answers no picture within less
QUERIES_A_REQUEST = 500


def test_every_answered_item_is_found_after_the_server_was_killed(bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    encoder = load_encoder(bundle, device="cpu")
    ledger = Ledger()
    searched: set[str] = set()
    for round_ in range(ROUNDS + 1):
        with running_server(tmp_path / "data", "--encoder", str(bundle)) as server:
            with server.client() as client:
                if round_ == 0:
                    create(client)
                kept = assert_kept(client, ledger)
                new = kept if round_ == ROUNDS else kept - searched  # in the end, all of them again
                assert_found(client, [ledger.sent[item_id] for item_id in new], encoder)
                searched |= new
            if round_ < ROUNDS:
                enrol_until_killed(server, ledger, round_, rng.uniform(0.02, LATEST_KILL_S))
                assert ledger.failures == []
    assert any(ledger.sent[item_id].picture for item_id in ledger.answered)
    assert len(ledger.answered) >= 10 * ROUNDS
    assert ledger.deleted
    assert len(ledger.sent) > len(ledger.answered)  # some requests were indeed cut off


def create(client: httpx2.Client) -> None:
    wanted = {"metric": "euclidean", "fields": {"camera": "integer"}}
    assert client.put(COLLECTION, json=wanted).raise_for_status().json()["dimension"] == DIMENSION


def assert_kept(client: httpx2.Client, ledger: Ledger) -> set[str]:
    """Check that what was answered is there, and nothing by halves; return the ids of all that is there."""
    listed = {item["id"]: item for item in listed_items(client)}
    assert client.get(COLLECTION).json()["items"] == len(listed)
    assert ledger.answered - ledger.deleting <= listed.keys(), "answered and lost"
    assert not ledger.deleted & listed.keys(), "deleted and back again"
    assert listed.keys() <= ledger.sent.keys()
    for ids in ledger.requests:
        there = [item_id in listed for item_id in ids if item_id not in ledger.deleting]
        assert all(there) or not any(there), "a request is there by halves"
    for item_id, item in listed.items():
        assert_as_sent(item, ledger.sent[item_id])
    return set(listed)


def listed_items(client: httpx2.Client) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
        answer = client.get(f"{COLLECTION}/items", params=page).raise_for_status().json()
        yield from answer["items"]
        cursor = answer["cursor"]
        if cursor is None:
            return


def assert_as_sent(found: dict[str, Any], sent: Item) -> None:
    assert found["identity"] == sent.identity
    assert found["metadata"] == sent.metadata


def assert_found(client: httpx2.Client, items: list[Item], encoder: Encoder) -> None:
    """Check that each item's own vector finds it, at distance 0."""
    for start in range(0, len(items), QUERIES_A_REQUEST):
        part = items[start : start + QUERIES_A_REQUEST]
        vectors = [stored_vector(client, item, encoder) for item in part]
        wanted = {
            "queries": [vector.tolist() for vector in vectors],
            "k": 1,
            "include": ["metadata", "vector"],
        }
        answer = client.post(f"{COLLECTION}/search", json=wanted).raise_for_status().json()
        for item, vector, result in zip(part, vectors, answer["results"], strict=True):
            (match,) = result["matches"]
            assert match["id"] == item.id
            assert match["distance"] == 0.0
            assert_as_sent(match, item)
            np.testing.assert_array_equal(np.float32(match["vector"]), vector)


def stored_vector(client: httpx2.Client, item: Item, encoder: Encoder) -> npt.NDArray[np.float32]:
    """Return the vector that was sent; of a picture the stored one, once it is what the encoder gives."""
    if item.vector is not None:
        return item.vector
    assert item.picture is not None
    answer = client.get(f"{COLLECTION}/items/{item.id}", params={"include": "vector"}).raise_for_status()
    stored = np.array(answer.json()["vector"], dtype=np.float32)
    spec = encoder.manifest.input
    (expected,) = encoder.encode(np.stack([decode(item.picture, (spec.height, spec.width))]))
    np.testing.assert_allclose(stored, expected, atol=1e-5)
    return stored
