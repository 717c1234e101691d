"""Limits that a collection sets on the quality of its pictures."""

from pathlib import Path

from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.api.photographs import ANNA, BEN, sent
from tests.service.api.wires import assert_problem, until_ready


def test_pictures_below_a_collections_limits_are_rejected_with_figure_and_limit(faces: TestClient) -> None:
    limits = {"min_size": 20, "max_brightness": 200, "min_score": 0.5}
    made = faces.put("/v1/collections/strict", json={"quality": limits})
    assert (made.status_code, made.json()["quality"]) == (201, limits)
    assert faces.put("/v1/collections/strict", json={"quality": limits}).status_code == 200
    other = faces.put("/v1/collections/strict", json={"quality": {**limits, "min_size": 21}})
    assert_problem(other, 409, "conflict")
    items = [
        {"id": "large", "image": sent(ANNA)},
        {"id": "small", "image": sent(BEN)},
        {"id": "near", "image": sent(BEN, scale=2)},
        {"id": "vector", "vector": [1, 0, 0, 0, 0]},
    ]
    answer = faces.post("/v1/collections/strict/items", json={"items": items}).json()
    assert [item["status"] for item in answer["items"]] == ["created", "rejected", "created", "created"]
    assert "its size is 16 and at least 20 is wanted (min_size)" in answer["items"][1]["reason"]
    assert answer["items"][1]["face"]["quality"]["size"] == 16
    alone = faces.post("/v1/collections/strict/items", json={"items": items[1:2]})
    assert_problem(alone, 422, "low-quality")


def test_limits_hold_for_crops_too_but_not_for_scores_that_they_lack(faces: TestClient) -> None:
    wanted = {"encoder": "crops", "quality": {"min_sharpness": 1.0}}
    assert faces.put("/v1/collections/crops", json=wanted).status_code == 201
    items = [{"id": "plain", "image": sent()}, {"id": "good", "image": sent(ANNA)}]
    fields = {"items": items, "include": ["quality"]}
    answer = faces.post("/v1/collections/crops/items", json=fields).json()
    assert [item["status"] for item in answer["items"]] == ["rejected", "created"]
    assert "its sharpness is 0 and at least 1 is wanted" in answer["items"][0]["reason"]
    assert answer["items"][1]["quality"]["size"] == 64
    for refused in (
        {"encoder": "crops", "quality": {"min_score": 0.5}},
        {"dimension": 3, "quality": {"min_size": 5}},
    ):
        assert_problem(faces.put("/v1/collections/x", json=refused), 422, "invalid-option")
    unknown = faces.put("/v1/collections/x", json={"quality": {"blur": 5}})
    assert_problem(unknown, 422, "invalid-fields")


def test_limits_are_there_after_a_restart(face_bundles: dict[str, Path], tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", encoder=str(face_bundles["photos"]), threads=1)
    with TestClient(create_app(settings)) as client:
        client.put("/v1/collections/strict", json={"quality": {"min_size": 20}})
    with TestClient(create_app(settings)) as client:
        until_ready(client)
        assert client.get("/v1/collections/strict").json()["quality"] == {"min_size": 20}
        answer = client.post("/v1/collections/strict/items", json={"items": [{"image": sent(BEN)}]})
        assert_problem(answer, 422, "low-quality")
