"""Search and verify over HTTP, against NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.service.api.wires import SAFETENSORS, assert_problem, data_uri, pack, unpack

Draw = Callable[..., bytes]
SEARCH = "/v1/collections/c/search"
RNG = np.random.default_rng(2)
GALLERY = RNG.normal(size=(60, 3)).astype(np.float32)
IDENTITIES = [f"p{row % 20}" for row in range(60)]
CAMERAS = [f"c{row % 3}" for row in range(60)]
QUERIES = RNG.normal(size=(4, 3)).astype(np.float32)


@pytest.fixture
def searched(client: TestClient) -> TestClient:
    """A client with sixty vectors of twenty identities under three cameras in `c`."""
    client.put("/v1/collections/c", json={"dimension": 3})
    items = [
        {
            "id": f"i{row}",
            "identity": IDENTITIES[row],
            "vector": vector.tolist(),
            "metadata": {"camera": camera},
        }
        for row, (vector, camera) in enumerate(zip(GALLERY, CAMERAS, strict=True))
    ]
    assert client.post("/v1/collections/c/items", json={"items": items}).json()["created"] == 60
    return client


def ranked(query: np.ndarray[Any, Any]) -> tuple[list[int], np.ndarray[Any, Any]]:
    distances = np.linalg.norm(GALLERY.astype(float) - query, axis=1)
    return list(np.argsort(distances, kind="stable")), distances


def ask(client: TestClient, **request: Any) -> list[list[dict[str, Any]]]:
    answer = client.post(SEARCH, json={"queries": QUERIES.tolist(), **request})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["metric"] == "euclidean"
    assert all(result["decision"] is None for result in body["results"])
    return [result["matches"] for result in body["results"]]


@pytest.mark.parametrize("k", [1, 10, 60, 1000])
def test_the_nearest_come_first_with_exact_distances(searched: TestClient, k: int) -> None:
    for query, matches in zip(QUERIES, ask(searched, k=k), strict=True):
        order, distances = ranked(query)
        assert [match["id"] for match in matches] == [f"i{row}" for row in order[:k]]
        np.testing.assert_allclose([match["distance"] for match in matches], distances[order[:k]], rtol=1e-5)
        assert [match["identity"] for match in matches] == [IDENTITIES[row] for row in order[:k]]


def test_group_by_identity_gives_k_identities_each_with_its_best(searched: TestClient) -> None:
    for query, matches in zip(QUERIES, ask(searched, k=7, group_by="identity"), strict=True):
        best: dict[str, int] = {}
        for row in ranked(query)[0]:
            best.setdefault(IDENTITIES[row], row)
        assert [match["id"] for match in matches] == [f"i{row}" for row in list(best.values())[:7]]


def test_max_distance_is_inclusive(searched: TestClient) -> None:
    (matches, *_) = ask(searched, k=60)
    border = matches[4]["distance"]
    (limited, *_) = ask(searched, k=60, max_distance=border)
    assert limited == matches[:5]


def test_a_filter_leaves_the_k_nearest_that_pass(searched: TestClient) -> None:
    for query, matches in zip(QUERIES, ask(searched, k=5, filter={"camera": "c1"}), strict=True):
        passing = [row for row in ranked(query)[0] if CAMERAS[row] == "c1"]
        assert [match["id"] for match in matches] == [f"i{row}" for row in passing[:5]]
        assert all(match["metadata"] == {"camera": "c1"} for match in matches)


def test_a_query_by_id_leaves_itself_out(searched: TestClient) -> None:
    (matches,) = ask(searched, queries=[{"id": "i7"}], k=60)
    order, _ = ranked(GALLERY[7])
    assert [match["id"] for match in matches] == [f"i{row}" for row in order if row != 7]
    answer = searched.post(SEARCH, json={"queries": [{"id": "nobody"}]})
    assert_problem(answer, 404, "not-found", "'nobody'")


def test_include_says_what_comes_along(searched: TestClient) -> None:
    (plain, *_) = ask(searched, k=1, include=[])
    assert plain[0].keys() == {"id", "identity", "distance"}
    (full, *_) = ask(searched, k=1, include=["metadata", "vector"])
    assert full[0]["vector"] == pytest.approx(GALLERY[ranked(QUERIES[0])[0][0]].tolist())


def test_queries_and_vectors_travel_as_tensors(searched: TestClient) -> None:
    body, tensors = unpack(searched.post(SEARCH, **pack({"k": 2, "include": ["vector"]}, queries=QUERIES)))
    rows = [int(match["id"][1:]) for result in body["results"] for match in result["matches"]]
    np.testing.assert_array_equal(tensors["vector"], GALLERY[rows])
    assert rows == [row for query in QUERIES for row in ranked(query)[0][:2]]


def test_names_of_any_characters_come_back_by_every_wire(searched: TestClient) -> None:
    odd = ['a"b\\c","', "\u00fc\u2028", "x,y}", "\U0001f600{"]
    items = [
        {"id": name, "identity": name[::-1] if n else None, "vector": QUERIES[n].tolist()}
        for n, name in enumerate(odd)
    ]
    assert searched.post("/v1/collections/c/items", json={"items": items}).json()["created"] == 4
    wanted = [{"id": name, "identity": name[::-1] if n else None} for n, name in enumerate(odd)]
    for _ in range(3):  # the first time in a thread, then on the event loop
        found = ask(searched, k=2, include=[])
        assert [{"id": match["id"], "identity": match["identity"]} for match, _ in found] == wanted
        body, tensors = unpack(searched.post(SEARCH, **pack({"k": 2, "include": []}, queries=QUERIES)))
        assert not tensors
        assert [result["matches"] for result in body["results"]] == found


def test_a_picture_finds_itself_by_every_wire(client: TestClient, picture: Draw) -> None:
    client.put("/v1/collections/c")
    files = [("image", (f"{one}.png", picture(one), "image/png")) for one in range(5)]
    client.post("/v1/collections/c/items", files=files, data={"id": [f"v{one}" for one in range(5)]})

    def first(answer: Any) -> tuple[str, float]:
        match = answer.json()["results"][0]["matches"][0]
        return match["id"], match["distance"]

    raw = client.post(f"{SEARCH}?k=1", content=picture(3), headers={"content-type": "image/png"})
    form = client.post(SEARCH, files={"image": picture(3)}, data={"k": "1", "include": "[]"})
    text = client.post(SEARCH, json={"queries": [{"sample": data_uri(picture(3))}], "k": 1})
    for answer in (raw, form, text):
        item_id, distance = first(answer)
        assert item_id == "v3"
        assert distance == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("request_body", "slug", "word"),
    [
        ({"queries": []}, "invalid-fields", "queries"),
        ({"queries": [[1, 2]]}, "dimension-mismatch", "3"),
        ({"queries": [[1, 2, 3], [1, 2]]}, "dimension-mismatch", "/queries/1"),
        ({"queries": [[1, 2, 3]], "k": 0}, "invalid-fields", "k"),
        ({"queries": [[1, 2, 3]], "k": 1_000_000}, "invalid-fields", "10,000"),
        ({"queries": [[1, 2, 3]], "filter": {"camera": {"like": "c"}}}, "invalid-filter", "like"),
        (
            {"queries": [[1, 2, 3]], "filter": {"camera": None}},
            "invalid-filter",
            'null; use {"exists": false}',
        ),
        ({"queries": [[1, 2, 3]], "filter": {"$and": []}}, "invalid-filter", "written without $"),
        ({"queries": [{"name": 1}]}, "invalid-fields", "queries/0/sample"),
        ({"queries": [[1, 2, 3], {"id": 3}]}, "invalid-fields", "queries/1/id"),
        ({"queries": [[1, 2, 3]], "group_by": "camera"}, "invalid-fields", "'identity'"),
    ],
)
def test_bad_searches_say_what_to_do(
    searched: TestClient, request_body: dict[str, Any], slug: str, word: str
) -> None:
    problem = assert_problem(searched.post(SEARCH, json=request_body), 422, slug, word)
    assert all(one["pointer"].startswith("/") for one in problem["errors"])


def test_verify_compares_with_the_threshold_strictly(client: TestClient) -> None:
    def verified(threshold: float) -> bool:
        answer = client.post("/v1/verify", json={"a": [0, 0], "b": [3, 4], "threshold": threshold}).json()
        assert answer["distance"] == 5
        assert answer["metric"] == "euclidean"
        return bool(answer["verified"])

    assert verified(5.001)
    assert not verified(5)


def test_verify_takes_tensors_of_one_row(client: TestClient) -> None:
    rows = {"a": np.zeros((1, 2), dtype=np.float32), "b": np.array([3, 4], dtype=np.float32)}
    body, _ = unpack(client.post("/v1/verify", **pack({"threshold": 1}, **rows)))
    assert body["distance"] == 5
    uneven = {"a": np.zeros(2, dtype=np.float32), "b": np.zeros(3, dtype=np.float32)}
    assert_problem(client.post("/v1/verify", **pack({"threshold": 1}, **uneven)), 422, "dimension-mismatch")


def test_verify_takes_pictures_in_json_and_in_a_form(client: TestClient, picture: Draw) -> None:
    request = {"a": data_uri(picture(0)), "b": data_uri(picture(1)), "threshold": 0.1}
    by_json = client.post("/v1/verify", json=request).json()
    form = client.post("/v1/verify", files={"a": picture(0), "b": picture(1)}, data={"threshold": "0.1"})
    # A batch is what waits just then, and its size may change the last bits.
    assert form.json() == {**by_json, "distance": pytest.approx(by_json["distance"], abs=1e-6)}
    same = client.post("/v1/verify", json={**request, "b": request["a"]}).json()
    assert same["verified"] is True
    assert same["distance"] == 0


@pytest.mark.parametrize(
    ("request_body", "status", "slug", "word"),
    [
        ({"a": [1], "b": [2]}, 422, "invalid-fields", "threshold and far"),
        ({"a": [1], "b": [2], "far": 0.01}, 409, "conflict", "has no calibration"),
        ({"a": [1], "b": [2, 3], "threshold": 1}, 422, "dimension-mismatch", "/b"),
        ({"a": "aGVsbG8gd29ybGQ=", "b": [2], "threshold": 1}, 422, "unsupported-image", "/a"),
    ],
)
def test_bad_verifications_say_what_to_do(
    client: TestClient, request_body: dict[str, Any], status: int, slug: str, word: str
) -> None:
    assert_problem(client.post("/v1/verify", json=request_body), status, slug, word)


def test_safetensors_answers_without_tensors_hold_the_json(client: TestClient) -> None:
    request = {"a": [0, 0], "b": [3, 4], "threshold": 1}
    body, tensors = unpack(client.post("/v1/verify", json=request, headers={"accept": SAFETENSORS}))
    assert body["distance"] == 5
    assert tensors == {}
