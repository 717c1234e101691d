"""Every endpoint that takes a picture takes its URL, to the same answer."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service.api.wires import assert_problem, data_uri
from tests.service.urls.picture_server import PictureServer, answer

Picture = Callable[..., bytes]

REQUESTS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "/v1/embeddings": lambda a, b: {"input": [a, b]},
    "/v1/distances": lambda a, b: {"x": [a], "y": [b, a]},
    "/v1/losses/triplet": lambda a, b: {"anchor": [a], "positive": [a], "negative": [b]},
    "/v1/losses/batch": lambda a, b: {"embeddings": [a, a, b], "labels": [0, 0, 1], "mining": "all"},
    "/v1/verify": lambda a, b: {"a": a, "b": b, "threshold": 0.5},
    "/v1/collections/c/search": lambda a, b: {"queries": [a, {"sample": b}], "k": 2},
}


@pytest.mark.parametrize("path", REQUESTS)
def test_a_url_is_answered_as_its_picture(client: TestClient, base: str, picture: Picture, path: str) -> None:
    client.put("/v1/collections/c")
    items = [{"id": "u", "identity": "x", "image": f"{base}/car.png"}]
    assert client.post("/v1/collections/c/items", json={"items": items}).json()["created"] == 1

    by_url = client.post(path, json=REQUESTS[path](f" {base}/car.png\n", f"{base}/other.png"))
    by_picture = client.post(path, json=REQUESTS[path](data_uri(picture(0)), data_uri(picture(1))))

    assert by_url.status_code == by_picture.status_code == 200, by_url.text
    assert flat(by_url.json()) == pytest.approx(flat(by_picture.json()), abs=1e-5)


def flat(value: Any) -> list[Any]:
    """Return an answer's numbers; batches decide about their last bits."""
    if isinstance(value, dict):
        return [number for one in value.values() for number in flat(one)]
    if isinstance(value, list):
        return [number for one in value for number in flat(one)]
    return [float(value)] if isinstance(value, (int, float)) else []


def test_an_enrolment_by_urls_keeps_the_good_ones(
    client: TestClient, base: str, store: PictureServer
) -> None:
    client.put("/v1/collections/c")
    store.answers["/gone"] = answer(status="404 Not Found")
    store.answers["/text"] = answer(b"hello")
    images = [
        f"{base}/car.png",
        f"{base}/gone",
        f"{base}/text",
        "http://other.test/x",
        "aGVsbG8=",
        f"{base}/other.png",
    ]
    items = [{"id": str(row), "image": image} for row, image in enumerate(images)]

    enrolled = client.post("/v1/collections/c/items", json={"items": items}).json()

    assert (enrolled["created"], enrolled["rejected"]) == (2, 4)
    reasons = [item.get("reason", "") for item in enrolled["items"]]
    expected = ["", "answered 404", "is text", "not fetched from other.test", "is text", ""]
    for reason, words in zip(reasons, expected, strict=True):
        assert words in reason
    assert not reasons[0] + reasons[-1]


def test_each_url_of_a_batch_is_its_own_error_with_its_place(
    client: TestClient, base: str, store: PictureServer, picture: Picture
) -> None:
    store.answers["/gone"] = answer(status="410 Gone")
    inputs = [
        data_uri(picture()),
        f"{base}/gone",
        f"{base}/car.png",
        "https://u:p@pictures.test/",
        f"{base}/gone",
    ]
    problem = assert_problem(
        client.post("/v1/embeddings", json={"input": inputs}), 422, "url-not-fetched", "3 of 5 pictures"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/input/1", "/input/3", "/input/4"]
    assert "410" in problem["errors"][0]["detail"]
    assert "password" in problem["errors"][1]["detail"]


def test_a_form_may_have_a_url(client: TestClient, base: str) -> None:
    answered = client.post(
        "/v1/verify",
        files={"a": (None, f"{base}/car.png"), "b": (None, f"{base}/car.png"), "threshold": (None, "1")},
    )
    assert answered.json()["verified"] is True


@pytest.mark.parametrize("path", REQUESTS)
def test_urls_are_off_by_default(stateless: TestClient, path: str) -> None:
    stateless.put("/v1/collections/c")
    answered = stateless.post(path, json=REQUESTS[path]("http://127.0.0.1/a.jpg", "https://a.example/b.jpg"))
    assert_problem(answered, 422, "url-not-fetched", "LOOKALIKE_URL_HOSTS")
    stateless.delete("/v1/collections/c")


def test_an_enrolment_by_url_says_that_they_are_off(stateless: TestClient) -> None:
    stateless.put("/v1/collections/c")
    answered = stateless.post(
        "/v1/collections/c/items", json={"items": [{"image": "http://127.0.0.1/a.jpg"}]}
    )
    problem = assert_problem(answered, 422, "url-not-fetched", "LOOKALIKE_URL_HOSTS")
    assert problem["errors"][0]["pointer"] == "/items/0/image"
    stateless.delete("/v1/collections/c")


def test_the_description_says_where_urls_are_taken(stateless: TestClient) -> None:
    schemas = stateless.get("/openapi.json").json()["components"]["schemas"]
    for name in ("VerifyRequest", "DistancesRequest", "ItemBody"):
        assert "LOOKALIKE_URL_HOSTS" in str(schemas[name]), name
