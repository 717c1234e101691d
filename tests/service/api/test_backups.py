"""Backups over HTTP: for operators, made in the background, restored from beside what lives."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import assert_problem, until_kept, until_ready
from tests.service.gallery.slow_disk import SlowSnapshot
from tests.service.gallery.test_scrub import change

OPERATOR = {"Authorization": "Bearer key"}
PATHS = [
    ("POST", "/v1/backups"),
    ("GET", "/v1/backups"),
    ("GET", "/v1/backups/b"),
    ("DELETE", "/v1/backups/b"),
    ("POST", "/v1/backups/b/restore"),
]


@pytest.fixture
def operated(settings: Settings) -> Settings:
    return settings.model_copy(update={"operator_keys": SecretStr("key")})


@pytest.fixture
def client(operated: Settings) -> Iterator[TestClient]:
    """An operator's, with two collections."""
    with TestClient(create_app(operated), headers=OPERATOR) as client:
        for name in ("cars", "people"):
            client.put(f"/v1/collections/{name}", json={"dimension": 2})
            items = [{"id": str(n), "vector": [n, 1]} for n in range(3)]
            client.post(f"/v1/collections/{name}/items", json={"items": items}).raise_for_status()
        yield client


def done(client: TestClient, path: str) -> dict[str, Any]:
    """Return how a backup stands once it is done."""
    assert until_kept(client, path) == "done"
    told: dict[str, Any] = client.get(path).json()
    return told


def test_one_is_made_listed_restored_from_and_deleted(client: TestClient, operated: Settings) -> None:
    answer = client.post("/v1/backups")
    assert answer.status_code == 202
    begun = answer.json()
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z", begun["name"])
    assert (begun["state"], begun["collections"], begun["made"]) == ("running", 2, None)
    path = answer.headers["location"]
    assert path == f"/v1/backups/{begun['name']}"
    told = done(client, path)
    assert (told["state"], told["collections_done"], told["items"], told["problem"]) == ("done", 2, 6, None)
    assert [(one["name"], one["items"]) for one in told["contents"]] == [("cars", 3), ("people", 3)]
    assert sum(one["bytes"] for one in told["contents"]) == told["bytes"] > 0
    assert [(one["damaged"], one["damaged_ids"]) for one in told["contents"]] == [(0, []), (0, [])]
    assert client.get("/v1/backups").json() == {"backups": [{**told, "contents": None}]}
    assert (operated.data_dir / "backups" / told["name"] / "manifest.json").is_file()

    client.delete("/v1/collections/people/items/2").raise_for_status()
    answer = client.post(f"{path}/restore", json={"collection": "people", "into": "people-before"})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/collections/people-before"
    assert answer.json()["items"] == 3
    assert client.get("/v1/collections/people").json()["items"] == 2
    search = {"queries": [[2, 1]], "k": 1}
    (result,) = client.post("/v1/collections/people-before/search", json=search).json()["results"]
    assert result["matches"][0]["id"] == "2"

    assert client.delete(path).status_code == 204
    assert_problem(client.get(path), 404, "not-found", "no backup")
    assert client.get("/v1/backups").json() == {"backups": []}


def test_what_is_damaged_in_one_is_named_and_left_out_of_what_is_restored(
    client: TestClient, operated: Settings
) -> None:
    record = operated.data_dir / "collections" / "people" / "record.sqlite3"
    change(record, "UPDATE items SET metadata = '[]' WHERE id = '1'")
    path = client.post("/v1/backups", json={"name": "b"}).headers["location"]
    told = done(client, path)
    assert (told["state"], told["items"], told["damaged"]) == ("done", 5, 1)
    assert "Damaged items or pictures in it: 1 ('1' of people). All others are restored." in told["problem"]
    named = [(one["name"], one["items"], one["damaged"], one["damaged_ids"]) for one in told["contents"]]
    assert named == [("cars", 3, 0, []), ("people", 2, 1, ["1"])]
    assert client.get("/v1/backups").json() == {"backups": [{**told, "contents": None}]}
    body = {"collection": "people", "into": "people-before"}
    restored = client.post(f"{path}/restore", json=body).json()
    assert (restored["items"], restored["integrity"]["damaged"]) == (2, ["1"])


def test_they_are_there_after_a_restart_and_lie_where_the_settings_say(
    operated: Settings, client: TestClient, tmp_path: Path
) -> None:
    path = client.post("/v1/backups", json={"name": "b", "collections": ["cars"]}).headers["location"]
    told = done(client, path)
    elsewhere = operated.model_copy(
        update={"data_dir": tmp_path / "new", "backup_dir": str(operated.data_dir / "backups")}
    )
    with TestClient(create_app(elsewhere), headers=OPERATOR) as another:
        assert another.get(path).json() == told
        restored = another.post(f"{path}/restore", json={"collection": "cars", "into": "cars"})
        assert (restored.status_code, restored.json()["items"]) == (201, 3)


def test_a_folder_for_them_among_the_collections_is_refused_at_the_start(operated: Settings) -> None:
    settings = operated.model_copy(update={"backup_dir": str(operated.data_dir / "collections")})
    with pytest.raises(Exception, match=r"is within .*collections"), TestClient(create_app(settings)):
        pass


def test_they_are_for_operators(settings: Settings, operated: Settings) -> None:
    body = {"collection": "c", "into": "d"}
    with TestClient(create_app(operated)) as client:
        for method, path in PATHS:
            sent = body if path.endswith("restore") else None
            assert_problem(client.request(method, path, json=sent), 401, "unauthorized")
    with TestClient(create_app(settings), headers=OPERATOR) as client:
        for method, path in PATHS:
            sent = body if path.endswith("restore") else None
            assert_problem(client.request(method, path, json=sent), 403, "forbidden", "OPERATOR_KEYS")
    assert not (settings.data_dir / "backups").exists()


def test_bad_requests_say_what_to_do(client: TestClient) -> None:
    for name in ("../b", "a/b", "", ".b", "b" * 65):
        assert_problem(client.post("/v1/backups", json={"name": name}), 422, "invalid-fields", "name")
    assert_problem(client.post("/v1/backups", json={"path": "/tmp/b"}), 422, "invalid-fields", "path")
    assert_problem(client.post("/v1/backups", json={"collections": ["peple"]}), 404, "not-found", "'people'")
    assert_problem(client.delete("/v1/backups/b"), 404, "not-found", "no backup 'b'")
    done(client, client.post("/v1/backups", json={"name": "b"}).headers["location"])
    assert_problem(client.post("/v1/backups", json={"name": "b"}), 409, "conflict", "'b' already")
    for sent, status, slug, words in [
        ({"collection": "peple", "into": "x"}, 404, "not-found", "in the backup 'b'"),
        ({"collection": "people", "into": "cars"}, 409, "conflict", "'cars' already"),
        ({"collection": "people", "into": "../x"}, 422, "invalid-fields", "into"),
        ({"collection": "people"}, 422, "invalid-fields", "into"),
    ]:
        assert_problem(client.post("/v1/backups/b/restore", json=sent), status, slug, words)
    assert sorted(one["name"] for one in client.get("/v1/collections").json()["collections"]) == [
        "cars",
        "people",
    ]


def test_none_is_made_of_what_is_not_open_yet(operated: Settings) -> None:
    with TestClient(create_app(operated)) as client:
        client.put("/v1/collections/people", json={"dimension": 2})
    slow = SlowSnapshot(operated.data_dir, "people")
    with TestClient(create_app(operated), headers=OPERATOR) as client, slow:
        assert_problem(client.post("/v1/backups"), 503, "not-ready", "Not all collections are open yet")
        assert client.get("/v1/backups").json() == {"backups": []}


def test_where_a_collection_cannot_be_opened_a_backup_of_all_says_the_ways_out(operated: Settings) -> None:
    with TestClient(create_app(operated)) as client:
        for name in ("cars", "people"):
            client.put(f"/v1/collections/{name}", json={"dimension": 2}).raise_for_status()
    (operated.data_dir / "collections" / "cars" / "record.sqlite3").unlink()
    with TestClient(create_app(operated), headers=OPERATOR) as client:
        until_ready(client)
        words = ("missing: cars", "`collections`", "start the server again", "GET /v1/collections", "delete")
        assert_problem(client.post("/v1/backups"), 409, "conflict", *words)
        (unopened,) = client.get("/v1/collections").json()["unopened"]
        assert "put collections/cars of a backup in its place" in unopened["detail"]
        others = client.post("/v1/backups", json={"name": "b", "collections": ["people"]})
        assert done(client, others.headers["location"])["collections_done"] == 1
