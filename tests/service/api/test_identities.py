"""Identities over HTTP."""

import pytest
from starlette.testclient import TestClient

from service.settings import Settings
from tests.service.api.wires import assert_problem, until_erased
from tests.service.gallery.test_scrub import change

IDENTITIES = "/v1/collections/c/identities"


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    client.put("/v1/collections/c", json={"dimension": 2})
    items = [
        {"id": f"{name}{n}", "identity": name, "vector": [n, ord(name)]} for name in "abc" for n in range(3)
    ]
    client.post("/v1/collections/c/items", json={"items": items})
    return client


def test_identities_are_listed_and_described(filled: TestClient) -> None:
    page = filled.get(IDENTITIES, params={"limit": 2}).json()
    assert [(one["identity"], one["items"]) for one in page["identities"]] == [("a", 3), ("b", 3)]
    rest = filled.get(IDENTITIES, params={"limit": 2, "cursor": page["cursor"]}).json()
    assert ([one["identity"] for one in rest["identities"]], rest["cursor"]) == (["c"], None)
    one = filled.get(f"{IDENTITIES}/b").json()
    assert (one["identity"], one["items"], one["damaged"]) == ("b", 3, [])
    assert one["first_written"] <= one["last_written"]
    missing = filled.get(f"{IDENTITIES}/d")
    assert_problem(missing, 404, "not-found", "has no identity 'd'")
    assert "damaged" not in missing.json()


def test_an_erased_identity_is_gone_and_nothing_else(filled: TestClient) -> None:
    gone = filled.delete(f"{IDENTITIES}/b").json()
    described = filled.get("/v1/collections/c").json()
    assert gone in ({"deleted": 3, "erased": True}, {"deleted": 3, "erased": False})
    assert not (gone["erased"] and described["erasing"])
    assert_problem(filled.delete(f"{IDENTITIES}/b"), 404, "not-found", "'b'")
    assert until_erased(filled, "/v1/collections/c")["items"] == 6
    found = filled.post("/v1/collections/c/search", json={"queries": [[1, ord("b")]], "k": 9}).json()
    assert {match["identity"] for match in found["results"][0]["matches"]} == {"a", "c"}


def test_two_that_are_one_are_merged(filled: TestClient) -> None:
    merge = f"{IDENTITIES}/b/merge"
    assert filled.post(merge, json={"into": "a"}).json() == {"identity": "a", "merged": 3, "damaged": []}
    assert filled.get(f"{IDENTITIES}/a").json()["items"] == 6
    assert filled.get("/v1/collections/c/items/b1").json()["identity"] == "a"
    assert_problem(filled.post(merge, json={"into": "a"}), 404, "not-found", "no identity 'b'")
    same = filled.post(f"{IDENTITIES}/a/merge", json={"into": "a"})
    assert same.json() == {"identity": "a", "merged": 0, "damaged": []}
    assert_problem(filled.post(f"{IDENTITIES}/a/merge", json={"into": "x/y"}), 400, "bad-request", "identity")
    assert_problem(filled.post(f"{IDENTITIES}/a/merge", json={}), 422, "invalid-fields", "into")


def test_a_damaged_item_does_not_count_and_is_no_obstacle_to_a_merge(
    filled: TestClient, settings: Settings
) -> None:
    record = settings.data_dir / "collections" / "c" / "record.sqlite3"
    change(record, "UPDATE items SET metadata = '[]' WHERE id = 'b1'")
    assert_problem(filled.get("/v1/collections/c/items/b1"), 500, "damaged", "'b1'", "delete it")
    assert filled.get(f"{IDENTITIES}/b").json()["items"] == 2
    listed = filled.get(IDENTITIES).json()["identities"]
    assert [(one["identity"], one["items"]) for one in listed] == [("a", 3), ("b", 2), ("c", 3)]
    merge = f"{IDENTITIES}/b/merge"
    assert filled.post(merge, json={"into": "a"}).json() == {"identity": "a", "merged": 2, "damaged": ["b1"]}
    assert filled.get(f"{IDENTITIES}/a").json()["items"] == 5
    assert_problem(filled.post(merge, json={"into": "a"}), 404, "not-found", "no identity 'b'")
    change(record, "UPDATE items SET metadata = '[]' WHERE identity = 'c'")
    assert filled.post(f"{IDENTITIES}/c/merge", json={"into": "a"}).json()["damaged"] == ["c0", "c1", "c2"]
    gone = filled.delete(f"{IDENTITIES}/a").json()
    assert gone in ({"deleted": 9, "erased": True}, {"deleted": 9, "erased": False})
    assert until_erased(filled, "/v1/collections/c")["integrity"]["state"] == "ok"


def test_damaged_items_are_named_by_the_identities_that_they_are_of_or_may_be(
    filled: TestClient, settings: Settings
) -> None:
    record = settings.data_dir / "collections" / "c" / "record.sqlite3"
    change(record, "UPDATE items SET metadata = '[]' WHERE identity = 'c' OR id = 'b1'")
    page = filled.get("/v1/collections/c/items", params={"identity": "c"}).json()
    assert (page["items"], page["damaged"]) == ([], ["c0", "c1", "c2"])
    gone = filled.get(f"{IDENTITIES}/c")
    assert_problem(gone, 404, "not-found", "identity 'c' that can be read", "damaged")
    assert gone.json()["damaged"] == ["c0", "c1", "c2"]
    assert filled.get(f"{IDENTITIES}/b").json()["damaged"] == []  # that it is, nobody has met
    filled.get("/v1/collections/c/items/b1")  # which does not tell whose it is
    told = {name: filled.get(f"{IDENTITIES}/{name}").json() for name in "abcd"}
    assert [told[name]["items"] for name in "ab"] == [3, 2]
    assert [told[name]["damaged"] for name in "abd"] == [["b1"]] * 3
    assert told["c"]["damaged"] == ["b1", "c0", "c1", "c2"]
