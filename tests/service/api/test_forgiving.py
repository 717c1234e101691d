"""What a client may write in more than one way, and limits that nothing could meet."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from tests.service.api.wires import assert_problem

Draw = Callable[..., bytes]


@pytest.mark.parametrize("include", ["quality", '["quality"]'])
def test_one_word_is_a_list_of_one(stateless: TestClient, picture: Draw, include: str) -> None:
    headers = {"Content-Type": "image/png"}
    answer = stateless.post("/v1/embeddings", params={"include": include}, content=picture(), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][0]["quality"]["size"] == 60


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("input=abc", 400, "'input' comes both as a file and as text"),
        (
            "encoding_format=float&encoding_format=base64",
            422,
            "encoding_format: it came 2 times, and takes one",
        ),
        ("encodng_format=float", 422, "there is no such field; there are input, model"),
    ],
)
def test_an_option_of_a_picture_that_is_unknown_or_said_twice_is_refused(
    stateless: TestClient, picture: Draw, query: str, status: int, words: str
) -> None:
    headers = {"Content-Type": "image/png"}
    answer = stateless.post(f"/v1/embeddings?{query}", content=picture(), headers=headers)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True)


@pytest.mark.parametrize(
    ("method", "path", "query", "words"),
    [
        ("GET", "/v1/collections", "limitt=5", "limitt: There is no such option here"),
        ("GET", "/v1/collections/c/items", "limit=5&limitt=5", "there are cursor, identity, include, limit"),
        ("GET", "/v1/collections/c", "a", "it takes none"),
        ("DELETE", "/v1/collections/c", "dry_run=true", "dry_run"),
    ],
)
def test_an_option_that_a_route_does_not_have_is_refused(
    client: TestClient, method: str, path: str, query: str, words: str
) -> None:
    client.put("/v1/collections/c", json={"dimension": 4}).raise_for_status()
    answer = client.request(method, f"{path}?{query}")
    assert_problem(answer, 422, "invalid-fields", words)
    assert answer.json()["errors"][0]["pointer"].startswith("/query/")
    assert client.get("/v1/collections/c").status_code == 200


def test_a_field_that_comes_too_often_in_a_form_is_told_apart_from_one_that_is_wrong(
    client: TestClient,
) -> None:
    client.put("/v1/collections/c", json={"dimension": 2}).raise_for_status()
    parts = [("queries", "[[1, 2]]"), ("k", "3"), ("k", "4"), ("k", "5"), ("exact", "[1, 2]")]
    form = [(name, (None, text)) for name, text in parts]
    problem = assert_problem(client.post("/v1/collections/c/search", files=form), 422, "invalid-fields")
    told = {error["pointer"]: error["detail"] for error in problem["errors"]}
    assert told["/k"] == "it came 3 times, and takes one value"
    assert "valid boolean" in told["/exact"]


@pytest.mark.parametrize("text", [b"\\ud800", b"\\udc00 ", b"\\ud800\\u0041"])
def test_half_a_surrogate_pair_is_told_apart_from_what_is_no_json(client: TestClient, text: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    body = b'{"queries": [{"id": "%s"}]}' % text
    answer = client.post("/v1/collections/c/search", content=body, headers=headers)
    assert_problem(answer, 400, "malformed-body", "has half a surrogate pair", "(line 1, column 2")
    answer = client.post("/v1/collections/c/search", content=b'{"queries": "\xff"}', headers=headers)
    assert_problem(answer, 400, "malformed-body", "The body is not JSON")


def test_a_probe_may_add_what_it_likes(client: TestClient) -> None:
    assert client.get("/health/live?t=1").status_code == 200


def test_options_in_the_query_string_of_another_body_are_not_overlooked(
    stateless: TestClient, picture: Draw
) -> None:
    for answer in (
        stateless.post("/v1/distances?metric=cosine", json={"x": [[0, 1]]}),
        stateless.post("/v1/embeddings?metric=cosine", files={"file": picture()}),
    ):
        problem = assert_problem(answer, 422, "invalid-fields", "query string")
        assert [error["pointer"] for error in problem["errors"]] == ["/query/metric"]


def test_blanks_around_a_deadline_do_not_count(stateless: TestClient, picture: Draw) -> None:
    headers = {"Content-Type": "image/png", "X-Deadline-Ms": " 60000 "}
    assert stateless.post("/v1/embeddings", content=picture(), headers=headers).status_code == 200


def test_a_picture_that_cannot_be_decoded_is_counted(stateless: TestClient, picture: Draw) -> None:
    def counted() -> float:
        lines = stateless.get("/metrics").text.splitlines()
        found = [line for line in lines if 'reason="unusable"' in line and "rejected_images_total" in line]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    before = counted()
    headers = {"Content-Type": "image/png"}
    answer = stateless.post("/v1/embeddings", content=picture()[:-40], headers=headers)
    assert answer.status_code == 422
    assert counted() == before + 1


def test_limits_that_no_picture_can_meet_are_refused(client: TestClient) -> None:
    quality = {"min_brightness": 200, "max_brightness": 100}
    answer = client.put("/v1/collections/c", json={"quality": quality})
    assert answer.status_code == 422
    assert "at least 200 and at most 100" in answer.text
    assert client.put("/v1/collections/c", json={"quality": {"min_brightness": 100}}).status_code == 201
