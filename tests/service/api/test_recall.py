"""The recall of an index over HTTP."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.service.api.wires import SAFETENSORS, assert_problem, pack

RECALL = "/v1/collections/c/recall"
RNG = np.random.default_rng(3)


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    """Sixty items in `c`, the last twenty at one place."""
    client.put("/v1/collections/c", json={"dimension": 3, "index": {"type": "flat"}})
    rows = RNG.normal(size=(60, 3))
    rows[40:] = 1
    items = [
        {"id": str(row), "vector": vector.tolist(), "metadata": {"even": row % 2 == 0}}
        for row, vector in enumerate(rows)
    ]
    assert client.post("/v1/collections/c/items", json={"items": items}).json()["created"] == 60
    return client


@pytest.mark.parametrize("narrowing", [{}, {"filter": {"even": True}}, {"k": 1000}])
def test_a_flat_index_finds_all_also_where_many_are_as_near(
    filled: TestClient, narrowing: dict[str, object]
) -> None:
    answer = filled.post(RECALL, json={"sample": 1000, **narrowing}).json()
    assert answer["recall"] == 1
    assert answer["queries"] == 60
    assert answer["interval"]["high"] == 1
    assert 0.9 < answer["interval"]["low"] <= 1  # none of 60 was missed, of which little is known for sure
    assert answer["p50_ms"] > 0
    assert answer["exact_p50_ms"] > 0


def test_queries_of_ones_own_are_compared(filled: TestClient) -> None:
    rows = RNG.normal(size=(7, 3)).astype(np.float32)
    by_tensor = pack({"k": 3}, queries=rows)
    by_tensor["headers"] = {"content-type": SAFETENSORS}
    for sent in ({"json": {"queries": rows.tolist(), "k": 3}}, by_tensor):
        answer = filled.post(RECALL, **sent).json()
        assert (answer["recall"], answer["queries"], answer["k"]) == (1, 7, 3)


def test_an_empty_collection_has_no_recall(client: TestClient) -> None:
    client.put("/v1/collections/c", json={"dimension": 3})
    answer = client.post(RECALL, json={}).json()
    assert answer["recall"] is None
    assert answer["p50_ms"] is None
    assert answer["queries"] == 0


def test_bad_requests_say_what_to_do(filled: TestClient) -> None:
    assert_problem(filled.post(RECALL, json={"sample": 0}), 422, "invalid-fields", "sample")
    assert_problem(filled.post(RECALL, json={"queries": [[1, 2]]}), 422, "dimension-mismatch", "3")
    both = {"queries": [[1, 2, 3]], "sample": 3}
    assert_problem(filled.post(RECALL, json=both), 422, "invalid-fields", "not both")
    assert_problem(filled.post("/v1/collections/d/recall", json={}), 404, "not-found", "'d'")
