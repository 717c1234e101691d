"""Pages of items with their vectors, and columns beside a tensor: what moves collections."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save
from starlette.testclient import TestClient

from tests.service.api.wires import SAFETENSORS, assert_problem, pack, unpack

C, ITEMS = "/v1/collections/c", "/v1/collections/c/items"
Rows = npt.NDArray[np.float32]


@pytest.fixture
def vectors(client: TestClient) -> TestClient:
    client.put(C, json={"dimension": 4, "metric": "cosine"})
    client.put("/v1/collections/d", json={"dimension": 4, "metric": "cosine"})
    return client


@pytest.fixture
def rows() -> Rows:
    return np.random.default_rng(5).normal(size=(7, 4)).astype(np.float32)


def fill(client: TestClient, rows: Rows) -> list[dict[str, Any]]:
    items = [
        {"id": f"i{n}", "identity": f"p{n % 2}" if n else None, "metadata": {"n": n}}
        for n in range(len(rows))
    ]
    answer, _ = unpack(client.post(ITEMS, **pack({"items": items}, vector=rows)))
    assert answer["created"] == len(rows)
    return items


@pytest.mark.parametrize("accept", ["application/json", SAFETENSORS])
def test_pages_bring_the_vectors_as_they_were_given(vectors: TestClient, rows: Rows, accept: str) -> None:
    items = fill(vectors, rows)
    found: list[dict[str, Any]] = []
    parts: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        query: dict[str, str | int] = {"include": "vector", "limit": 3, "cursor": cursor}
        answer = vectors.get(ITEMS, params=query, headers={"accept": accept})
        if accept == SAFETENSORS:
            page, tensors = unpack(answer)
            parts.append(tensors["vector"])
        else:
            page = answer.json()
            parts.append(np.array([item.pop("vector") for item in page["items"]], dtype=np.float32))
        found += page["items"]
        cursor = page["cursor"]
    assert found == items
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    assert "vector" not in vectors.get(ITEMS).json()["items"][0]


def test_a_page_is_a_body_that_can_be_sent_to_another_collection(vectors: TestClient, rows: Rows) -> None:
    fill(vectors, rows)
    query: dict[str, str | int] = {"include": "vector", "limit": 5}
    page = vectors.get(ITEMS, params=query, headers={"accept": SAFETENSORS}).content
    answer = vectors.post(
        "/v1/collections/d/items", content=page, headers={"content-type": SAFETENSORS}
    ).json()
    assert answer["created"] == 5
    expected = vectors.get(ITEMS, params=query).json()["items"]
    assert vectors.get("/v1/collections/d/items", params=query).json()["items"] == expected


def test_ids_identities_and_metadata_come_as_columns_beside_the_tensor(
    vectors: TestClient, rows: Rows
) -> None:
    columns = {"id": [f"i{n}" for n in range(7)], "identity": "p", "metadata": [{"n": n} for n in range(7)]}
    answer, _ = unpack(vectors.post(ITEMS, **pack(columns, vector=rows)))
    assert answer["created"] == 7
    assert vectors.get(f"{ITEMS}/i3").json() == {"id": "i3", "identity": "p", "metadata": {"n": 3}}
    assert_problem(
        vectors.post(ITEMS, **pack({"id": ["a"]}, vector=rows)),
        422,
        "invalid-fields",
        "/id: 1 values of id came with 7 vectors",
    )
    misspelt = vectors.post(ITEMS, **pack({**columns, "cursor": None}, vectors=rows))
    problem = assert_problem(misspelt, 422, "invalid-fields", "there is no such field", "safetensors vector")
    assert [error["pointer"] for error in problem["errors"]] == ["/vectors"]
    both = {"items": [{}] * 7, "identity": "p"}
    assert_problem(vectors.post(ITEMS, **pack(both, vector=rows)), 422, "invalid-fields", "/identity: ")


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({"id": 3}, "id"),
        ({"identity": ""}, "identity"),
        ({"identity": "x" * 257}, "identity"),
        ({"metadata": []}, "metadata"),
        ({"colour": 1}, "colour"),
        ({"image": "x"}, "exactly one of image and vector"),
        ("text", "JSON object"),
        ({"id": "a/b"}, "'/'"),
        ({"metadata": {"a": "\0"}}, "NUL"),
        ({"metadata": {"a": "\ud800"}}, "'metadata.a' holds a NUL or half a surrogate pair"),
        ({"metadata": {"a": 2**70}}, "metadata.a is no finite number of at most 64 bits"),
        ({"id": "\ud800"}, "id holds"),
    ],
)
def test_a_bad_entry_beside_a_tensor_is_rejected_alone(
    vectors: TestClient, rows: Rows, item: Any, word: str
) -> None:
    answer, _ = unpack(vectors.post(ITEMS, **pack({"items": [{"id": "good"}, item]}, vector=rows[:2])))
    assert [one["status"] for one in answer["items"]] == ["created", "rejected"]
    assert word in answer["items"][1]["reason"]


def test_numbers_beyond_float32_and_zero_directions_are_rejected_alone(vectors: TestClient) -> None:
    tensor = np.array([[1, 2, 3, 1e300], [0, 0, 0, 0], [1, 2, 3, 4]], dtype=np.float64)
    body = save({"vector": tensor}, {"json": json.dumps({"id": ["a", "b", "c"]})})
    answer = vectors.post(ITEMS, content=body, headers={"content-type": SAFETENSORS}).json()
    assert [one["status"] for one in answer["items"]] == ["rejected", "rejected", "created"]
    assert "beyond 3.4e38" in answer["items"][0]["reason"]
    assert "no direction" in answer["items"][1]["reason"]
