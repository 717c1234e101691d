"""Collections over HTTP."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import assert_problem, until_ready


def test_a_new_collection_is_201_the_same_again_200_another_configuration_409(client: TestClient) -> None:
    config = {"dimension": 3, "metric": "cosine", "fields": {"camera": "keyword"}}
    made = client.put("/v1/collections/cars", json=config)
    assert made.status_code == 201
    assert made.json()["items"] == 0
    index = made.json()["index"]
    assert (index["type"], index["chosen"], index["state"], index["pending"]) == ("auto", "flat", "ready", 0)
    assert index["why"] == "there are no items"
    assert client.put("/v1/collections/cars", json=config).status_code == 200
    changed = client.put("/v1/collections/cars", json={**config, "metric": "euclidean"})
    assert_problem(changed, 409, "conflict", "metric")


def test_an_index_is_asked_for_by_name_and_its_parameters_are_checked(client: TestClient) -> None:
    wanted = {"type": "hnsw", "m": 8, "ef_construction": 40, "ef_search": 90}
    made = client.put("/v1/collections/cars", json={"dimension": 3, "index": wanted})
    assert made.json()["index"]["type"] == "hnsw"
    assert client.put("/v1/collections/cars", json={"dimension": 3}).status_code == 200
    other = client.put("/v1/collections/cars", json={"dimension": 3, "index": {**wanted, "m": 9}})
    assert_problem(other, 409, "conflict", '"m":9')
    wrong = client.put("/v1/collections/bikes", json={"dimension": 3, "index": {"type": "ivf", "m": 9}})
    assert_problem(wrong, 422, "invalid-fields", "/index/m")
    for index in ({"type": "ivf", "nlist": 16, "nprobe": 16}, {"type": "ivf", "nprobe": 16}):
        made = client.put(f"/v1/collections/lists-{len(index)}", json={"dimension": 3, "index": index})
        assert made.status_code == 201


def test_without_a_body_it_is_for_the_hosted_encoders_pictures(client: TestClient) -> None:
    made = client.put("/v1/collections/cars").json()
    (encoder,) = client.get("/v1/encoders").json()["encoders"]
    assert made["encoder"] == encoder["name"]
    assert made["fingerprint"] == encoder["fingerprint"]
    assert made["dimension"] == encoder["dimension"]
    assert made["metric"] == encoder["metric"]


def test_with_a_dimension_alone_it_takes_vectors_only(client: TestClient) -> None:
    made = client.put("/v1/collections/vectors", json={"dimension": 3}).json()
    assert made["encoder"] is None
    assert made["metric"] == "euclidean"
    assert_problem(
        client.post("/v1/collections/vectors/items", json={"items": [{"image": "aGk="}]}),
        422,
        "invalid-option",
        "vectors only",
    )
    assert_problem(
        client.post("/v1/collections/vectors/search", json={"queries": ["aGk="]}), 422, "invalid-option"
    )


def test_collections_are_listed_described_and_deleted(client: TestClient) -> None:
    for name in ("b", "a"):
        client.put(f"/v1/collections/{name}", json={"dimension": 2})
    client.post("/v1/collections/a/items", json={"items": [{"vector": [1, 2]}, {"vector": [3, 4]}]})
    listed = client.get("/v1/collections").json()["collections"]
    assert [(one["name"], one["items"]) for one in listed] == [("a", 2), ("b", 0)]
    described = client.get("/v1/collections/a").json()
    assert described["disk_bytes"] > 0
    assert described["memory_bytes"] > 0
    assert client.delete("/v1/collections/a").json() == {"deleted": 2}
    assert_problem(client.get("/v1/collections/a"), 404, "not-found", "'a'")
    assert_problem(client.delete("/v1/collections/a"), 404, "not-found")


@pytest.mark.parametrize(
    ("name", "config", "status", "slug", "word"),
    [
        ("x", {"dimension": 0}, 422, "invalid-fields", "dimension"),
        ("x", {"dimension": 5, "encoder": "tiny"}, 422, "invalid-option", "16 dimensions"),
        ("x", {"encoder": "huge"}, 404, "not-found", "'tiny'"),
        ("x", {"metric": "manhattan"}, 422, "invalid-fields", "'cosine'"),
        ("x", {"index": {"type": "tree"}}, 422, "invalid-fields", "'flat'"),
        (
            "x",
            {"dimension": 3, "index": {"type": "ivf", "nlist": 16, "nprobe": 17}},
            422,
            "invalid-fields",
            "nprobe is 17, and nlist 16",
        ),
        ("x", {"fields": {"camera": "text"}}, 422, "invalid-fields", "'keyword'"),
        ("x", {"quality": []}, 422, "invalid-fields", "quality: it must be a JSON object, {...}"),
        ("x", {"fields": []}, 422, "invalid-fields", "fields: it must be a JSON object, {...}"),
        ("x", {"keep_images": True, "dimension": 3}, 422, "invalid-option", "no pictures to keep"),
        ("-x", {}, 422, "invalid-fields", "collection"),
        ("x" * 65, {}, 422, "invalid-fields", "path/collection: 'xx"),
    ],
)
def test_bad_configurations_say_what_to_do(
    client: TestClient, name: str, config: dict[str, Any], status: int, slug: str, word: str
) -> None:
    assert_problem(client.put(f"/v1/collections/{name}", json=config), status, slug, word)


def test_everything_is_there_again_after_a_restart(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        client.put("/v1/collections/cars", json={"dimension": 2, "fields": {"time": "datetime"}})
        items = [{"id": "a", "identity": "x", "vector": [1, 2], "metadata": {"time": "2026-01-01T00:00:00Z"}}]
        client.post("/v1/collections/cars/items", json={"items": items})
        before = client.get("/v1/collections/cars").json()
    with TestClient(create_app(settings)) as client:
        until_ready(client)
        after = client.get("/v1/collections/cars").json()
        assert after.pop("integrity")["rows_checked"] == 1
        assert before.pop("integrity")["state"] == "ok"
        assert {**after, "disk_bytes": 0} == {**before, "disk_bytes": 0}
        assert client.get("/v1/collections/cars/items/a?include=vector").json() == items[0]
        (result,) = client.post("/v1/collections/cars/search", json={"queries": [[1, 2]]}).json()["results"]
        assert [match["id"] for match in result["matches"]] == ["a"]


def test_a_collection_of_another_encoder_refuses_pictures_and_says_how_to_go_on(
    settings: Settings, client: TestClient, tmp_path: Any
) -> None:
    from service.gallery.collection import CollectionConfig  # noqa: PLC0415
    from service.gallery.gallery import Gallery  # noqa: PLC0415

    other = tmp_path / "other"
    with Gallery(other) as gallery:
        gallery.create("old", CollectionConfig(16, "euclidean", encoder="tiny", fingerprint="0" * 64))
    with TestClient(create_app(settings.model_copy(update={"data_dir": other}))) as second:
        until_ready(second)
        answer = second.post("/v1/collections/old/items", json={"items": [{"image": "aGk="}]})
        assert_problem(answer, 409, "encoder-mismatch", "000000000000", "new collection")
        mixed = {"items": [{"image": "aGk="}, {"vector": [0.5] * 16}]}
        picture, vector = second.post("/v1/collections/old/items", json=mixed).json()["items"]
        assert ("000000000000" in picture["reason"], vector["status"]) == (True, "created")


@pytest.mark.parametrize(("left", "words"), [(b"no database" * 1000, "damaged"), (None, "is missing")])
def test_a_collection_that_is_damaged_is_500_in_words_and_the_others_are_served(
    settings: Settings, left: bytes | None, words: str
) -> None:
    with TestClient(create_app(settings)) as client:
        for name in ("cars", "people"):
            client.put(f"/v1/collections/{name}", json={"dimension": 2})
    record = settings.data_dir / "collections" / "cars" / "record.sqlite3"
    record.unlink()
    if left is not None:
        record.write_bytes(left)
    with TestClient(create_app(settings)) as client:
        until_ready(client)
        listed = client.get("/v1/collections").json()
        assert [one["name"] for one in listed["collections"]] == ["people"]
        assert [one["name"] for one in listed["unopened"]] == ["cars"]
        assert "backup" in listed["unopened"][0]["detail"]
        for answer in (
            client.get("/v1/collections/cars"),
            client.get("/v1/collections/cars/items/a"),
            client.put("/v1/collections/cars", json={"dimension": 2}),
        ):
            assert_problem(answer, 500, "damaged", "'cars' could not be opened", words)
        assert record.exists() == (left is not None)  # no empty one is made in its place
        assert client.get("/v1/collections/people").json()["integrity"]["state"] == "ok"
        assert client.delete("/v1/collections/cars").json() == {"deleted": 0}
        assert client.get("/v1/collections").json()["unopened"] == []
