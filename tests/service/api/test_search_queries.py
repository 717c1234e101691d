"""Queries of several samples, examples, what is left out and re-ranking over HTTP, against NumPy."""

from collections.abc import Callable, Set
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from models.reranking import rerank
from tests.service.api.wires import assert_problem, data_uri

SEARCH = "/v1/collections/c/search"
RNG = np.random.default_rng(5)
GALLERY = RNG.normal(size=(80, 4)).astype(np.float32)
IDENTITIES = [f"p{row % 7}" for row in range(80)]
CAMERAS = [f"c{row % 3}" for row in range(80)]
SAMPLES = RNG.normal(size=(5, 4)).astype(np.float32)


def metadata_of(row: int) -> dict[str, Any]:
    return {"camera": CAMERAS[row], "day": row % 2 == 0, "and": row % 5, "or": f"o{row % 5}", "not": row % 3}


def fill(client: TestClient, **config: Any) -> TestClient:
    client.put("/v1/collections/c", json={"dimension": 4, **config})
    items = [
        {
            "id": f"i{row}",
            "identity": IDENTITIES[row],
            "vector": GALLERY[row].tolist(),
            "metadata": metadata_of(row),
        }
        for row in range(80)
    ]
    assert client.post("/v1/collections/c/items", json={"items": items}).json()["created"] == 80
    return client


@pytest.fixture(params=["euclidean", "cosine"])
def metric(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def filled(client: TestClient, metric: str) -> TestClient:
    return fill(client, metric=metric, fields={"camera": "keyword"})


def unit(rows: Any, metric: str) -> np.ndarray[Any, Any]:
    rows = np.asarray(rows, dtype=float)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / lengths if metric == "cosine" else rows)


def ranked(query: Any, metric: str, *, without: Set[int] = frozenset()) -> list[int]:
    apart = np.linalg.norm(unit(GALLERY, metric) - unit(query, metric), axis=1)
    return [row for row in np.argsort(apart, kind="stable").tolist() if row not in without]


def rows_found(client: TestClient, query: object, **request: Any) -> list[int]:
    answer = client.post(SEARCH, json={"queries": [query], **request})
    assert answer.status_code == 200, answer.text
    return [int(match["id"][1:]) for match in answer.json()["results"][0]["matches"]]


def test_several_samples_are_searched_with_by_their_mean(filled: TestClient, metric: str) -> None:
    mean = unit(SAMPLES, metric).mean(axis=0)
    assert rows_found(filled, {"samples": SAMPLES.tolist()}, k=80) == ranked(mean, metric)


def test_examples_are_mean_and_difference_of_means(filled: TestClient, metric: str) -> None:
    query = {"positive": [{"id": "i3"}, SAMPLES[0].tolist()], "negative": [{"id": "i9"}, SAMPLES[1].tolist()]}
    liked = unit([GALLERY[3], SAMPLES[0]], metric).mean(axis=0)
    disliked = unit([GALLERY[9], SAMPLES[1]], metric).mean(axis=0)
    expected = ranked(liked + (liked - disliked), metric, without={3, 9})
    assert rows_found(filled, query, k=80) == expected
    assert rows_found(filled, {"positive": [{"id": "i3"}]}, k=80) == ranked(GALLERY[3], metric, without={3})


@pytest.mark.parametrize("fields", [["camera"], ["day"], ["camera", "day"], ["and"], ["or", "not"]])
@pytest.mark.parametrize("identity", [None, "p2"])
def test_what_shares_all_fields_and_the_identity_is_left_out(
    filled: TestClient, metric: str, fields: list[str], identity: str | None
) -> None:
    known = {"camera": "c1", "day": True, "and": 3, "or": "o2", "not": 1}
    without = {
        row
        for row in range(80)
        if all(metadata_of(row)[field] == known[field] for field in fields)
        and identity in (None, IDENTITIES[row])
    }
    query: dict[str, Any] = {"sample": SAMPLES[0].tolist(), "metadata": known}
    if identity is not None:
        query["identity"] = identity
    expected = ranked(SAMPLES[0], metric, without=without)
    for k in (3, 80):
        assert rows_found(filled, query, k=k, exclude_same=fields) == expected[:k]


def test_of_a_stored_item_its_own_identity_and_metadata_count(filled: TestClient, metric: str) -> None:
    junk = {row for row in range(80) if CAMERAS[row] == CAMERAS[7] and IDENTITIES[row] == IDENTITIES[7]}
    found = rows_found(filled, {"id": "i7"}, k=80, exclude_same=["camera"])
    assert found == ranked(GALLERY[7], metric, without=junk)


def test_matches_are_reranked_as_the_core_does(filled: TestClient, metric: str) -> None:
    top = ranked(SAMPLES[0], metric)[:30]
    options = {"k1": 6, "k2": 3, "weight": 0.2}
    query, gallery = torch.tensor(SAMPLES[:1]), torch.tensor(GALLERY[top])
    expected = rerank(query, gallery, metric=metric, k1=6, k2=3, weight=0.2)[0].numpy()
    answer = filled.post(
        SEARCH,
        json={
            "queries": [SAMPLES[0].tolist()],
            "k": 9,
            "rerank": {"method": "k_reciprocal", "top": 30, **options},
        },
    ).json()
    matches = answer["results"][0]["matches"]
    order = np.argsort(expected, kind="stable")[:9]
    assert [match["id"] for match in matches] == [f"i{top[at]}" for at in order]
    np.testing.assert_allclose([match["rerank_distance"] for match in matches], expected[order], rtol=1e-5)
    assert all("vector" not in match for match in matches)
    assert answer["rerank_ms"] >= 0


@pytest.mark.parametrize(
    ("request_body", "slug", "word"),
    [
        ({"queries": [{"samples": []}]}, "invalid-fields", "queries/0/samples"),
        ({"queries": [{"samples": [[1, 2, 3, 4], "no picture"]}]}, "invalid-option", "vectors only"),
        ({"queries": [{"samples": [[1, 2, 3, 4], [1, 2]]}]}, "dimension-mismatch", "/queries/0/samples/1"),
        ({"queries": [{"negative": [{"id": "i1"}]}]}, "invalid-fields", "queries/0/positive"),
        ({"queries": [[1, 2, 3, 4]], "exclude_same": ["camera"]}, "invalid-fields", "/queries/0"),
        ({"queries": [{"id": "i1"}], "exclude_same": ["shoe"]}, "invalid-fields", "shoe"),
        ({"queries": [{"id": "i1"}], "exclude_same": ["camera", "id"]}, "invalid-fields", "itself"),
        ({"queries": [{"id": "i1"}], "rerank": {"method": "other"}}, "invalid-fields", "k_reciprocal"),
        (
            {"queries": [{"id": "i1"}], "k": 31, "rerank": {"method": "k_reciprocal", "top": 30}},
            "invalid-fields",
            "/rerank/top: It takes the 30 nearest, and k asks for 31",
        ),
        (
            {"queries": [{"id": "i1"}], "k": 1001, "rerank": {"method": "k_reciprocal"}},
            "invalid-fields",
            "/k: It asks for 1,001, and at most 1,000 are re-ranked: use a smaller k",
        ),
        (
            {"queries": [{"id": "i1", "sample": [1, 2, 3, 4]}]},
            "invalid-fields",
            "queries/0/sample: it does not go together with id",
        ),
        (
            {"queries": [{"sample": [1, 2, 3, 4], "positive": [{"id": "i1"}], "negative": [{"id": "i2"}]}]},
            "invalid-fields",
            "it does not go together with sample",
        ),
        (
            {"queries": [{"id": "i1", "metadata": {"camera": ["c1", "c2"]}}], "exclude_same": ["camera"]},
            "invalid-fields",
            "exclude_same goes by its 'camera', which is ['c1', 'c2']: it must be a string",
        ),
        (
            {"queries": [{"id": "i1", "metadata": {"camera": 1}}], "exclude_same": ["camera"]},
            "invalid-fields",
            "exclude_same goes by its 'camera', which is 1: it is declared keyword",
        ),
        (
            {"queries": [{"id": "i1"}], "rerank": {"method": "k_reciprocal"}, "group_by": "identity"},
            "invalid-fields",
            "group_by",
        ),
    ],
)
def test_bad_queries_say_what_to_do(
    client: TestClient, request_body: dict[str, Any], slug: str, word: str
) -> None:
    problem = assert_problem(
        fill(client, fields={"camera": "keyword"}).post(SEARCH, json=request_body), 422, slug
    )
    assert word in str(problem)


@pytest.mark.parametrize("name", ["samples", "positive"])
def test_samples_that_cancel_each_other_out_are_told_of(client: TestClient, name: str) -> None:
    filled = fill(client, metric="cosine")
    queries = [[1, 0, 0, 0], {name: [[1, 2, 3, 4], [-3, -6, -9, -12]]}]
    problem = assert_problem(filled.post(SEARCH, json={"queries": queries}), 422, "outside-domain")
    assert [one["pointer"] for one in problem["errors"]] == ["/queries/1"]


def test_pictures_and_vectors_are_mixed_and_each_bad_picture_is_told_of(
    client: TestClient, picture: Callable[..., bytes]
) -> None:
    client.put("/v1/collections/c")
    files = [("image", (f"{one}.png", picture(one), "image/png")) for one in range(3)]
    client.post("/v1/collections/c/items", files=files, data={"id": ["i0", "i1", "i2"]})
    stored = client.get("/v1/collections/c/items/i1?include=vector").json()["vector"]
    assert rows_found(client, {"samples": [data_uri(picture(1)), stored]}, k=1) == [1]
    query = {"samples": [data_uri(picture(1)), "aGVsbG8=", stored, "d29ybGQ="]}
    problem = assert_problem(client.post(SEARCH, json={"queries": [stored, query]}), 422, "unsupported-image")
    pointers = [error["pointer"] for error in problem["errors"]]
    assert pointers == ["/queries/1/samples/1", "/queries/1/samples/3"]


def test_k_of_more_than_the_usual_are_reranked(client: TestClient) -> None:
    items = [{"id": f"i{n}", "vector": [n, 0, 0, n % 7]} for n in range(150)]
    fill(client).post("/v1/collections/c/items", json={"items": items}).raise_for_status()
    request = {"queries": [[0, 0, 0, 0]], "k": 140, "rerank": {"method": "k_reciprocal"}}
    (result,) = client.post(SEARCH, json=request).json()["results"]
    assert len(result["matches"]) == 140
    assert all("rerank_distance" in match for match in result["matches"])


def test_inner_product_is_not_reranked(client: TestClient) -> None:
    request = {"queries": [{"id": "i1"}], "rerank": {"method": "k_reciprocal"}}
    answer = fill(client, metric="inner_product").post(SEARCH, json=request)
    assert_problem(answer, 422, "invalid-fields", "product")
