"""The API's description: offline, complete, and with examples that run."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from models.distances import MATRIX_METRICS, METRICS
from service.api.numeric_schemas import MatrixMetric, RowMetric
from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import assert_problem, until_kept


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_metrics_of_requests_are_those_of_the_core() -> None:
    assert get_args(RowMetric) == METRICS
    assert get_args(MatrixMetric) == MATRIX_METRICS


def test_docs_load_nothing_from_elsewhere(stateless: TestClient) -> None:
    page = stateless.get("/docs").text
    assert "http://" not in page.replace("http://testserver", "")
    assert "https://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/static/swagger-ui/{asset}" in page
        assert stateless.get(f"/static/swagger-ui/{asset}").status_code == 200


def test_every_operation_is_described_and_answers_problems(stateless: TestClient) -> None:
    document = stateless.get("/openapi.json").json()
    for path, method, operation in operations(document):
        assert operation["description"], (method, path)
        if path.startswith("/v1"):
            assert "application/problem+json" in operation["responses"]["422"]["content"], (method, path)
            assert operation["responses"]["422"]["content"].keys() == {"application/problem+json"}


def test_every_reference_resolves(stateless: TestClient) -> None:
    document = stateless.get("/openapi.json").json()
    schemas = document["components"]["schemas"]

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref":
                    yield value
                else:
                    yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_every_request_body_has_an_example_and_every_example_works(settings: Settings) -> None:
    operated = settings.model_copy(update={"operator_keys": SecretStr("key")})
    with TestClient(create_app(operated), headers={"Authorization": "Bearer key"}) as client:
        run_examples(client)


def run_examples(client: TestClient) -> None:
    """Send every example of the API's description."""
    document = client.get("/openapi.json").json()
    with_body = {
        (method, path): operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for path, method, operation in operations(document)
        if "requestBody" in operation
    }
    # Made, filled, backed up and restored, searched, emptied.
    order = ["put", "/items", "/backups", "/restore", "/merge", "/search", "/recall", "/delete"]

    def step(key: tuple[str, str]) -> int:
        return next((n for n, part in enumerate(order) if part in (key[0], key[1][-len(part) :])), -1)

    ran = 0
    for method, path in sorted(with_body, key=step):
        schema = document["components"]["schemas"][with_body[method, path].rpartition("/")[2]]
        assert schema.get("examples"), (method, path)
        for example in schema["examples"]:
            place = re.sub(r"{\w+}", "example", path.replace("{identity}", "a"))  # which an example enrolled
            answer = client.request(method, place, json=example)
            assert answer.is_success, (method, path, answer.text)
            if path == "/v1/backups":  # which goes on in the background
                assert until_kept(client, answer.headers["location"]) == "done"
            ran += 1
    assert ran >= 10


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [("GET", "/v2/embeddings", 404, "not-found"), ("DELETE", "/v1/embeddings", 405, "method-not-allowed")],
)
def test_unknown_paths_and_methods_are_problems_too(
    stateless: TestClient, method: str, path: str, status: int, slug: str
) -> None:
    assert_problem(stateless.request(method, path), status, slug, path)


def test_a_slash_too_many_is_no_redirect_to_where_the_client_says(stateless: TestClient) -> None:
    there = {
        "POST": ["/v1/embeddings", "/v1/collections/c/items"],
        "GET": ["/v1/encoders", "/health/live"],
        "DELETE": ["/v1/collections/c"],
    }
    for method, path in [(method, path) for method, paths in there.items() for path in paths]:
        answer = stateless.request(
            method, f"{path}/", headers={"Host": "elsewhere.example"}, follow_redirects=False
        )
        assert_problem(answer, 404, "not-found", f"Leave out the slash at its end: {path}.")
        assert "elsewhere" not in answer.text
    assert_problem(stateless.get("/v1/nothing/"), 404, "not-found", "at /v1/nothing/. See /docs")


def test_a_refused_method_names_all_that_the_path_has(stateless: TestClient) -> None:
    for path, allowed in [
        ("/v1/collections/c", "DELETE, GET, PUT"),
        ("/v1/collections/c/items", "GET, POST"),
        ("/v1/collections/c/items/delete", "POST"),
        ("/v1/collections/c/items/a", "DELETE, GET"),
    ]:
        answer = stateless.patch(path)
        assert_problem(answer, 405, "method-not-allowed", allowed)
        assert answer.headers["allow"] == allowed
