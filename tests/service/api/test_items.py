"""Items over HTTP: enrolment by every wire, rejection, reading, paging, deletion."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.service.api.wires import assert_problem, data_uri, pack, unpack

Draw = Callable[..., bytes]
ITEMS = "/v1/collections/c/items"


@pytest.fixture
def vectors(client: TestClient) -> TestClient:
    """A client with a collection `c` of two-dimensional vectors."""
    client.put("/v1/collections/c", json={"dimension": 2, "fields": {"camera": "keyword"}})
    return client


@pytest.fixture
def pictures(client: TestClient) -> TestClient:
    """A client with a collection `c` of the hosted encoder's pictures."""
    client.put("/v1/collections/c")
    return client


def test_items_are_created_then_replaced_by_id(vectors: TestClient) -> None:
    first = {"id": "a", "identity": "x", "vector": [1, 2], "metadata": {"camera": "c1", "n": 1}}
    assert vectors.post(ITEMS, json={"items": [first]}).json() == {
        "items": [{"id": "a", "identity": "x", "status": "created"}],
        "created": 1,
        "replaced": 0,
        "rejected": 0,
    }
    second = {"id": "a", "identity": "y", "vector": [3, 4], "metadata": {}}
    assert vectors.post(ITEMS, json={"items": [second]}).json()["items"][0]["status"] == "replaced"
    assert vectors.get(f"{ITEMS}/a?include=vector").json() == second
    assert "vector" not in vectors.get(f"{ITEMS}/a").json()


def test_ids_are_made_where_none_are_given(vectors: TestClient) -> None:
    items = vectors.post(ITEMS, json={"items": [{"vector": [1, 2]}, {"vector": [1, 2]}]}).json()["items"]
    assert len({item["id"] for item in items}) == 2
    for item in items:
        assert vectors.get(f"{ITEMS}/{item['id']}").status_code == 200


def test_a_truncated_picture_among_seven_good_ones_is_rejected_alone(
    pictures: TestClient, picture: Draw
) -> None:
    files = [picture(identity, file_format="JPEG") for identity in range(8)]
    files[3] = files[3][: len(files[3]) // 2]
    items = [
        {"id": f"v{position}", "image": data_uri(file, "image/jpeg"), "metadata": {"position": position}}
        for position, file in enumerate(files)
    ]
    answer = pictures.post(ITEMS, json={"items": items})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["created"], body["rejected"]) == (7, 1)
    assert [item["id"] for item in body["items"] if item["status"] == "rejected"] == ["v3"]
    assert "truncated" in body["items"][3]["reason"]
    for position in range(8):
        expected = 404 if position == 3 else 200
        assert pictures.get(f"{ITEMS}/v{position}").status_code == expected


def test_a_hundred_megapixels_in_a_small_file_are_refused_and_the_good_picture_kept(
    pictures: TestClient, picture: Draw
) -> None:
    bomb = BytesIO()
    Image.new("L", (10_000, 10_000)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 120_000
    alone = pictures.post("/v1/embeddings", files={"input": bomb.getvalue()})
    assert_problem(alone, 413, "image-too-large", "100,000,000 pixels", "Scale it down")
    items = [{"id": "good", "image": data_uri(picture())}, {"id": "bomb", "image": data_uri(bomb.getvalue())}]
    body = pictures.post(ITEMS, json={"items": items}).json()
    assert [item["status"] for item in body["items"]] == ["created", "rejected"]
    assert "100,000,000" in body["items"][1]["reason"]
    only = pictures.post(ITEMS, json={"items": items[1:]})
    assert_problem(only, 413, "image-too-large", "/items/0/image")


def test_abort_keeps_none_where_one_is_bad(vectors: TestClient) -> None:
    items = [{"id": "a", "vector": [1, 2]}, {"id": "b", "vector": [1, 2, 3]}]
    answer = vectors.post(ITEMS, json={"items": items, "on_error": "abort"})
    problem = assert_problem(answer, 422, "invalid-input", "/items/1", "2")
    assert [item["status"] for item in problem["items"]] == ["rejected", "rejected"]
    assert "Another item" in problem["items"][0]["reason"]
    assert vectors.get("/v1/collections/c").json()["items"] == 0


def test_where_nothing_can_be_kept_the_answer_is_a_problem_with_the_reasons(
    pictures: TestClient, picture: Draw
) -> None:
    broken = data_uri(picture(file_format="JPEG")[:500], "image/jpeg")
    problem = assert_problem(
        pictures.post(ITEMS, json={"items": [{"id": "a", "image": broken}]}),
        422,
        "damaged-image",
        "truncated",
    )
    assert problem["rejected"] == 1
    assert problem["errors"][0]["pointer"] == "/items/0/image"


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({"vector": [1, 2, 3]}, "3"),
        ({"vector": ["a", "b"]}, "numbers"),
        ({"vector": []}, "numbers"),
        ({"vector": [1, 1e39]}, "infinity"),
        ({"vector": [1, 2], "id": "a/b"}, "/"),
        ({"vector": [1, 2], "id": ""}, "characters"),
        ({"vector": [1, 2], "id": 7}, "id: Input should be a valid string"),
        ({"vector": [1, 2], "identity": ""}, "identity"),
        ({"vector": [1, 2], "metadata": []}, "metadata"),
        ({"vector": [1, 2], "colour": "red"}, "there are id, identity"),
        ({}, "exactly one of image and vector"),
        ({"image": "aGk="}, "takes vectors only"),
        ("vector", "it must be a JSON object"),
        ({"vector": [1, 2], "metadata": {"camera": 7}}, "camera"),
        ({"vector": [1, 2], "metadata": {"n": 2**70}}, "metadata.n is no finite number of at most 64 bits"),
        ({"vector": [1, 2], "metadata": {"a": [{"n": -(2**63) - 1}]}}, "metadata.a[0].n is no finite number"),
        ({"vector": [1, 2], "metadata": {"n": 10**400}}, "metadata.n is no finite number"),
        ({"vector": [1, 2], "metadata": {"camera": "\ud800"}}, "'metadata.camera' holds a NUL or half"),
        ({"vector": [1, 2], "metadata": {"\udfff": 1}}, "a key of metadata"),
        ({"vector": [1, 2], "id": "a\ud800"}, "id holds"),
        ({"vector": [1, 2], "identity": "\ud800"}, "identity"),
        ({"vector": [1, 2], "\ud800": 1}, "half a surrogate pair"),
    ],
)
def test_a_bad_item_is_rejected_with_its_reason_and_the_good_one_kept(
    vectors: TestClient, item: dict[str, Any], word: str
) -> None:
    items = [item, {"id": "good", "vector": [1, 2]}]
    body = vectors.post(ITEMS, content=json.dumps({"items": items})).json()
    assert body["items"][0]["status"] == "rejected"
    assert word in body["items"][0]["reason"]
    assert vectors.get(f"{ITEMS}/good").status_code == 200


def test_numbers_of_at_most_64_bits_come_back_as_they_were(vectors: TestClient) -> None:
    metadata = {"most": 2**63 - 1, "least": -(2**63), "large": 1e300, "float": 2.0**64, "deep": [[-1e19]]}
    items = [{"id": "a", "vector": [1, 2], "metadata": metadata}]
    items += [{"id": "b", "vector": [1, 2], "metadata": {"n": 2**64}}]
    body = vectors.post(ITEMS, json={"items": items}).json()
    assert [item["status"] for item in body["items"]] == ["created", "rejected"]
    kept = vectors.get(f"{ITEMS}/a").json()["metadata"]
    assert kept == metadata
    assert [type(value) for value in kept.values()] == [int, int, float, float, list]


def test_the_names_of_a_rejected_item_are_told_though_json_cannot_have_them(vectors: TestClient) -> None:
    item = {"id": "a\ud800", "identity": "\udc00b", "vector": [1, 2]}
    answer = vectors.post(ITEMS, content=json.dumps({"items": [item]}))
    assert answer.status_code == 422
    (told,) = answer.json()["items"]
    assert (told["id"], told["identity"]) == (r"a\ud800", r"\udc00b")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"items": []}, "at least 1"),
        ({}, "items"),
        ({"items": [{}]}, "exactly one of image and vector"),
        ({"items": [{"vector": [1, 2], "image": "aGk="}]}, "exactly one"),
        ({"items": [{"vector": [1, 2], "labels": 1}]}, "labels"),
        ({"items": [{"vector": [1, 2]}], "on_error": "retry"}, "'abort'"),
        ([], "JSON object"),
        ({"vectors": [[1, 2]], "id": ["a"]}, "vectors: there is no such field; there are items"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_as_a_whole(vectors: TestClient, body: Any, word: str) -> None:
    answer = vectors.post(ITEMS, json=body)
    assert answer.status_code in (400, 422)
    assert word in answer.json()["detail"]


def test_a_form_enrols_files_with_identity_id_and_metadata_beside_them(
    pictures: TestClient, picture: Draw
) -> None:
    files = [("file", (f"{view}.png", picture(0, view), "image/png")) for view in range(2)]
    data = {"identity": "0042", "id": ["a", "b"], "metadata": json.dumps({"camera": "c1"})}
    assert pictures.post(ITEMS, files=files, data=data).json()["created"] == 2
    assert pictures.get(f"{ITEMS}/b").json() == {"id": "b", "identity": "0042", "metadata": {"camera": "c1"}}
    bad: list[tuple[dict[str, Any], str, str]] = [
        ({"id": ["a", "b", "c"]}, "/id", "3 values of id"),
        ({"items": "[]"}, "/items", "beside files"),
        ({"colour": "red"}, "/colour", "in a form also image, in safetensors vector"),
        ({"metadata": json.dumps({"n": 2**70})}, "/items/0", "metadata.n is no finite number"),
        ({"metadata": json.dumps({"s": "\ud800"})}, "/items/0", "'metadata.s' holds"),
    ]
    for fields, pointer, words in bad:
        problem = pictures.post(ITEMS, files=files, data=fields).json()
        assert problem["status"] == 422
        assert words in problem["errors"][0]["detail"]
        assert problem["errors"][0]["pointer"] == pointer
    for name, pointer, words in (("id", "/image", "no picture"), ("identity", "/identity", "This is a file")):
        part = (None, "a") if pointer == "/image" else ("a.png", picture(), "image/png")
        problem = assert_problem(pictures.post(ITEMS, files={name: part}), 422, "invalid-fields", words)
        assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_a_raw_picture_is_enrolled_with_the_query_string_beside_it(
    pictures: TestClient, picture: Draw
) -> None:
    answer = pictures.post(
        f"{ITEMS}?identity=0042&id=a", content=picture(), headers={"content-type": "image/png"}
    )
    assert answer.json()["items"] == [{"id": "a", "identity": "0042", "status": "created"}]


def test_a_tensor_gives_the_vectors_of_the_items_in_order(vectors: TestClient) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    items = [{"id": str(row), "identity": "x"} for row in range(3)]
    body, _ = unpack(vectors.post(ITEMS, **pack({"items": items}, vector=rows)))
    assert body["created"] == 3
    assert vectors.get(f"{ITEMS}/2?include=vector").json()["vector"] == [4, 5]
    body, _ = unpack(vectors.post(ITEMS, **pack({}, vector=rows)))
    assert body["created"] == 3
    answer = vectors.post(ITEMS, **pack({"items": items[:2]}, vector=rows))
    assert_problem(answer, 422, "invalid-fields", "3 rows")


def test_pages_follow_one_another_in_the_order_of_writing(vectors: TestClient) -> None:
    items = [{"id": f"i{n}", "identity": "even" if n % 2 == 0 else "odd", "vector": [n, 0]} for n in range(7)]
    vectors.post(ITEMS, json={"items": items})
    seen, cursor = [], None
    while True:
        page = vectors.get(ITEMS, params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == [f"i{n}" for n in range(7)]
    even = vectors.get(ITEMS, params={"identity": "even"}).json()
    assert [item["id"] for item in even["items"]] == ["i0", "i2", "i4", "i6"]
    empty = vectors.get(f"{ITEMS}?identity=&cursor=").json()  # as if left out
    assert len(empty["items"]) == 7
    assert_problem(vectors.get(ITEMS, params={"cursor": "x"}), 400, "bad-request", "cursor")
    assert_problem(vectors.get(ITEMS, params={"limit": 0}), 422, "invalid-fields", "limit")


def test_items_are_deleted_by_id_by_ids_and_by_filter(vectors: TestClient) -> None:
    items = [{"id": f"i{n}", "vector": [n, 0], "metadata": {"camera": f"c{n % 2}"}} for n in range(6)]
    vectors.post(ITEMS, json={"items": items})
    assert vectors.delete(f"{ITEMS}/i0").json() == {"deleted": 1}
    assert_problem(vectors.delete(f"{ITEMS}/i0"), 404, "not-found", "'i0'")
    assert vectors.post(f"{ITEMS}/delete", json={"ids": ["i0", "i1", "i2"]}).json() == {"deleted": 2}
    by_filter = {"filter": {"camera": "c1"}}
    assert vectors.post(f"{ITEMS}/delete", json=by_filter).json() == {"deleted": 2}
    assert [item["id"] for item in vectors.get(ITEMS).json()["items"]] == ["i4"]


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"filter": {}}, {"ids": ["a"], "filter": {"id": "a"}}])
def test_an_empty_deletion_is_refused(vectors: TestClient, body: dict[str, Any]) -> None:
    assert_problem(vectors.post(f"{ITEMS}/delete", json=body), 422, "invalid-fields")


def test_what_does_not_exist_is_not_found(vectors: TestClient) -> None:
    assert_problem(vectors.get(f"{ITEMS}/nobody"), 404, "not-found", "'nobody'", "'c'")
    missing = vectors.post("/v1/collections/none/items", json={"items": [{"vector": [1, 2]}]})
    assert_problem(missing, 404, "not-found", "'none'")
