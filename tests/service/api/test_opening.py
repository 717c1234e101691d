"""While collections are opened the server answers: what is open works, and all else says how far it is."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import PATIENCE_S, assert_problem, until_ready
from tests.service.gallery.slow_disk import SlowSnapshot


@pytest.fixture
def filled(settings: Settings) -> Path:
    with TestClient(create_app(settings)) as client:
        for name in ("cars", "people"):
            client.put(f"/v1/collections/{name}", json={"dimension": 2})
            items = {"items": [{"id": "a", "vector": [1, 2]}]}
            assert client.post(f"/v1/collections/{name}/items", json=items).json()["created"] == 1
    return settings.data_dir


def test_it_answers_and_says_how_far_it_is(settings: Settings, filled: Path) -> None:
    slow = SlowSnapshot(filled, "people")
    with TestClient(create_app(settings)) as client, slow:
        opening = wait_for_the_first(client)
        assert opening == {
            "opened": 1,
            "collections": 2,
            "collection": "people",
            "rows_read": 0,
            "rows": 0,
        }
        assert client.get("/health/live").status_code == 200
        search = {"queries": [[1, 2]]}
        assert client.post("/v1/collections/cars/search", json=search).status_code == 200
        asked: list[tuple[str, str, Any]] = [
            ("GET", "/v1/collections/people", None),
            ("PUT", "/v1/collections/people", {"dimension": 2}),
            ("DELETE", "/v1/collections/people", None),
            ("POST", "/v1/collections/people/search", search),
            ("POST", "/v1/collections/people/items", {"items": [{"vector": [1, 2]}]}),
            ("GET", "/v1/collections/people/items", None),
            ("GET", "/v1/collections", None),
        ]
        for method, path, sent in asked:
            answer = client.request(method, path, json=sent)
            problem = assert_problem(answer, 503, "not-ready", "1 of 2 collections are open", "'people'")
            assert problem["opening"] == opening
        assert_problem(client.get("/v1/collections/peeple"), 404, "not-found", "Did you mean 'people'?")
        assert client.put("/v1/collections/new", json={"dimension": 2}).status_code == 201
        slow.let_go()
        until_ready(client)
        listed = client.get("/v1/collections").json()["collections"]
        assert [(one["name"], one["items"]) for one in listed] == [("cars", 1), ("new", 0), ("people", 1)]


def wait_for_the_first(client: TestClient) -> Any:
    for _ in range(PATIENCE_S * 100):
        answer = client.get("/health/ready")
        problem = assert_problem(answer, 503, "not-ready", "Not all collections are open yet")
        if problem["opening"]["opened"]:
            return problem["opening"]
    raise AssertionError(problem)
