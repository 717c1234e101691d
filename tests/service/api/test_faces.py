"""Photographs of faces through the API: found, chosen, enrolled and searched with."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx2 import Response
from safetensors.numpy import load, save
from starlette.testclient import TestClient

from models.detector_import import DetectorOptions, add_detector
from models.runtime import Encoder
from service.app import create_app
from service.settings import Settings
from tests.models.faces.detectors import file_of, photograph
from tests.service.api.photographs import ANNA, BEN, CARLA, by_hand, embed, enrol, search, sent
from tests.service.api.wires import assert_problem


def test_the_largest_face_is_embedded_unless_told_otherwise(faces: TestClient, face_encoder: Encoder) -> None:
    largest, other = embed(faces, sent(BEN, ANNA), sent(CARLA))
    np.testing.assert_allclose(largest["embedding"], by_hand(face_encoder, ANNA, BEN)[0], atol=1e-5)
    np.testing.assert_allclose(other["embedding"], by_hand(face_encoder, CARLA)[0], atol=1e-5)
    np.testing.assert_allclose(largest["face"]["box"], [12, 12, 44, 44], atol=0.02)
    assert np.shape(largest["face"]["landmarks"]) == (5, 2)
    assert largest["face"]["score"] > 0.9
    assert largest["face"]["quality"].keys() == {"size", "sharpness", "brightness"}
    assert (largest["face"]["quality"]["size"], other["face"]["quality"]["size"]) == (32, 16)


def test_all_faces_are_rows_with_the_index_of_their_picture(faces: TestClient, face_encoder: Encoder) -> None:
    data = embed(faces, sent(BEN), sent(), sent(BEN, ANNA, CARLA), faces="all")
    assert [row["index"] for row in data] == [0, 2, 2, 2]
    expected = by_hand(face_encoder, BEN) + by_hand(face_encoder, BEN, ANNA, CARLA)
    np.testing.assert_allclose([row["embedding"] for row in data], expected, atol=1e-5)
    assert [row["face"]["quality"]["size"] for row in data] == [16, 32, 16, 16]


def test_all_faces_come_as_one_tensor_too(faces: TestClient) -> None:
    answer = faces.post(
        "/v1/embeddings",
        json={"input": [sent(BEN, ANNA), sent(CARLA)], "faces": "all"},
        headers={"Accept": "application/x-safetensors"},
    )
    assert load(answer.content)["embedding"].shape == (3, 5)


def test_a_picture_that_must_have_an_embedding_and_has_none_is_named(faces: TestClient) -> None:
    answer = faces.post("/v1/embeddings", json={"input": [sent(BEN), sent()]})
    problem = assert_problem(answer, 422, "no-face")
    assert [error["pointer"] for error in problem["errors"]] == ["/input/1"]
    answer = faces.post("/v1/embeddings", json={"input": [sent(BEN, ANNA), sent(BEN)], "faces": "one"})
    problem = assert_problem(answer, 422, "several-faces")
    assert [error["pointer"] for error in problem["errors"]] == ["/input/0"]
    assert "There are 2 faces in it" in problem["detail"]


def test_an_encoder_of_crops_refuses_the_choice_and_measures_when_asked(faces: TestClient) -> None:
    fields = {"input": [sent(ANNA)], "model": "crops"}
    assert_problem(faces.post("/v1/embeddings", json={**fields, "faces": "all"}), 422, "invalid-option")
    (plain,) = embed(faces, sent(ANNA), model="crops")
    assert plain.keys() == {"object", "index", "embedding"}
    (measured,) = embed(faces, sent(ANNA, scale=2), model="crops", include=["quality"])
    assert measured["quality"]["size"] == 128
    assert "face" not in measured


def test_enrolment_rejects_what_has_no_face_or_several_and_keeps_the_rest(faces: TestClient) -> None:
    faces.put("/v1/collections/people")
    items = [
        {"id": "anna", "image": sent(ANNA)},
        {"id": "nobody", "image": sent()},
        {"id": "both", "image": sent(ANNA, BEN)},
        {"id": "given", "vector": [1, 0, 0, 0, 0]},
    ]
    answer = faces.post("/v1/collections/people/items", json={"items": items, "faces": "one"}).json()
    assert [item["status"] for item in answer["items"]] == ["created", "rejected", "rejected", "created"]
    assert "No face was found" in answer["items"][1]["reason"]
    assert "2 faces" in answer["items"][2]["reason"]
    np.testing.assert_allclose(answer["items"][0]["face"]["box"], [12, 12, 44, 44], atol=0.02)
    assert not {"face", "quality"} & answer["items"][3].keys()
    again = faces.post("/v1/collections/people/items", json={"items": items[2:3]}).json()
    assert again["created"] == 1  # by its largest face
    alone = faces.post("/v1/collections/people/items", json={"items": items[1:2]})
    assert_problem(alone, 422, "no-face")
    several = faces.post("/v1/collections/people/items", json={"items": items, "faces": "all"})
    assert_problem(several, 422, "invalid-fields")


def test_a_photograph_is_searched_with_by_its_face_and_one_without_is_an_empty_answer(
    faces: TestClient,
) -> None:
    enrol(faces)
    found, empty, stored, vector = search(
        faces, sent(ANNA, BEN), sent(), {"id": "ben"}, {"sample": [1, 0, 0, 0, 0]}
    )
    assert found["matches"][0]["id"] == "anna"
    assert found["matches"][0]["distance"] == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(found["faces"][0]["box"], [12, 12, 44, 44], atol=0.02)
    assert (empty["matches"], empty["decision"], empty["faces"]) == ([], None, [])
    assert "No face was found" in empty["reason"]
    for result in (stored, vector):
        assert result.keys() == {"decision", "matches"}
        assert len(result["matches"]) == 1
    (nothing,) = search(faces, sent())
    assert nothing["matches"] == []


def test_every_face_of_a_photograph_is_searched_with_where_all_are_asked_for(faces: TestClient) -> None:
    enrol(faces)
    results = search(faces, {"id": "anna"}, sent(), sent(CARLA, ANNA), faces="all", k=3)
    assert [result["query"] for result in results] == [0, 1, 2, 2]
    assert [result["matches"][0]["id"] for result in results[2:]] == ["anna", "carla"]
    assert [len(result["matches"]) for result in results] == [2, 0, 3, 3]
    assert [len(result.get("faces", [])) for result in results] == [0, 0, 1, 1]
    (several,) = search(faces, sent(CARLA, ANNA), faces="one")
    assert several["matches"] == []
    assert len(several["faces"]) == 2
    assert "2 faces" in several["reason"]


def test_a_picture_that_cannot_be_decoded_is_an_error_of_the_search(faces: TestClient) -> None:
    enrol(faces)
    queries = [sent(ANNA), base64.b64encode(b"text" * 9).decode()]
    answer = faces.post("/v1/collections/people/search", json={"queries": queries})
    problem = assert_problem(answer, 422, "unsupported-image")
    assert [error["pointer"] for error in problem["errors"]] == ["/queries/1"]


def test_a_search_among_crops_refuses_the_choice_and_tells_quality(faces: TestClient) -> None:
    faces.put("/v1/collections/people", json={"encoder": "crops"})
    answer = faces.post("/v1/collections/people/search", json={"queries": [sent(ANNA)], "faces": "one"})
    assert_problem(answer, 422, "invalid-option")
    answer = faces.post("/v1/collections/people/search", json={"queries": [[1, 0, 0, 0, 0]], "faces": "one"})
    assert_problem(answer, 422, "invalid-option")
    (result,) = search(faces, sent(ANNA), include=["quality"])
    assert result["quality"]["size"] == 64


def test_verify_and_distances_compare_faces_and_refuse_pictures_without(faces: TestClient) -> None:
    pair = {"a": sent(ANNA, BEN), "b": sent(ANNA), "threshold": 0.01}
    verdict = faces.post("/v1/verify", json=pair).json()
    assert verdict["verified"]
    assert_problem(faces.post("/v1/verify", json={**pair, "b": sent()}), 422, "no-face")
    answer = faces.post("/v1/distances", json={"x": [sent(ANNA), sent()]})
    problem = assert_problem(answer, 422, "no-face")
    assert [error["pointer"] for error in problem["errors"]] == ["/x/1"]


COMPARED: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/verify", {"a": sent(ANNA), "b": sent(ANNA, BEN), "threshold": 1}, "/b"),
    ("/v1/distances", {"x": [sent(ANNA)], "y": [sent(ANNA, BEN)]}, "/y/0"),
    (
        "/v1/losses/triplet",
        {"anchor": [sent(ANNA)], "positive": [sent(ANNA, BEN)], "negative": [sent(CARLA)]},
        "/positive/0",
    ),
    (
        "/v1/losses/batch",
        {"embeddings": [sent(BEN), sent(ANNA, BEN), sent(CARLA)], "labels": [0, 0, 1], "mining": "hard"},
        "/embeddings/1",
    ),
]


@pytest.mark.parametrize(("path", "fields", "pointer"), COMPARED)
def test_wherever_faces_are_compared_a_request_says_which_and_by_which_encoder(
    faces: TestClient, path: str, fields: dict[str, Any], pointer: str
) -> None:
    usual = faces.post(path, json=fields)
    assert usual.status_code == 200, usual.text
    assert faces.post(path, json={**fields, "faces": "largest"}).status_code == 200
    problem = assert_problem(faces.post(path, json={**fields, "faces": "one"}), 422, "several-faces")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert_problem(faces.post(path, json={**fields, "faces": "all"}), 422, "invalid-fields")
    crops = {**fields, "model": "crops"}
    assert faces.post(path, json=crops).json() != usual.json()
    assert_problem(faces.post(path, json={**crops, "faces": "largest"}), 422, "invalid-option")
    assert_problem(faces.post(path, json={**fields, "model": "none"}), 404, "not-found", "'crops'")


@pytest.mark.parametrize("wire", ["json", "safetensors"])
def test_vectors_compare_as_they_are_whichever_encoder_is_named(faces: TestClient, wire: str) -> None:
    def distances(**fields: str) -> Response:
        if wire == "json":
            return faces.post("/v1/distances", json={"x": [[0, 0], [3, 4]], **fields})
        x = np.array([[0, 0], [3, 4]], dtype=np.float32)
        headers = {"content-type": "application/x-safetensors"}
        return faces.post(
            "/v1/distances", content=save({"x": x}, {"json": json.dumps(fields)}), headers=headers
        )

    assert distances(model="crops").json()["distances"] == [[0, 5], [5, 0]]
    assert distances(model="photos", faces="one").status_code == 200
    assert_problem(distances(model="crops", faces="one"), 422, "invalid-option")


def test_where_one_face_is_needed_all_of_the_encoder_count_as_the_largest(
    face_bundles: dict[str, Path], face_encoder: Encoder, tmp_path: Path
) -> None:
    options = DetectorOptions(name="all", faces="all")
    add_detector(face_bundles["crops"], face_bundles["crops"].parent / "d.onnx", tmp_path / "all", options)
    settings = Settings(data_dir=tmp_path / "data", encoder=str(tmp_path / "all"), threads=1)
    with TestClient(create_app(settings)) as client:
        assert len(embed(client, sent(ANNA, BEN))) == 2
        assert len(embed(client, sent(ANNA, BEN), faces="largest")) == 1
        client.put("/v1/collections/people")
        items = [{"id": "both", "image": sent(BEN, ANNA)}]
        written = client.post("/v1/collections/people/items", json={"items": items}).json()["items"]
        assert written[0]["face"]["quality"]["size"] == 32
        stored = client.get("/v1/collections/people/items/both?include=vector").json()
        np.testing.assert_allclose(stored["vector"], by_hand(face_encoder, BEN, ANNA)[0], atol=1e-5)
        pair = {"a": sent(ANNA, BEN), "b": sent(ANNA), "threshold": 0.01}
        assert client.post("/v1/verify", json=pair).json()["verified"]


def test_a_photograph_as_the_whole_body_is_looked_at_as_the_query_string_says(
    faces: TestClient, face_encoder: Encoder
) -> None:
    file = file_of(photograph(ANNA, BEN))
    headers = {"content-type": "image/png"}
    data = faces.post("/v1/embeddings?faces=all", content=file, headers=headers).json()["data"]
    expected = by_hand(face_encoder, ANNA, BEN)
    np.testing.assert_allclose([row["embedding"] for row in data], expected, atol=1e-5)


def test_the_detector_is_told_with_the_encoder(faces: TestClient) -> None:
    found = {one["name"]: one["detector"] for one in faces.get("/v1/encoders").json()["encoders"]}
    assert found["crops"] is None
    assert found["photos"] == {
        "kind": "retinaface",
        "input_size": {"height": 64, "width": 64},
        "score_threshold": 0.6,
        "faces": "largest",
    }


def test_many_photographs_at_once_are_told_apart(faces: TestClient, face_encoder: Encoder) -> None:
    choices = [(), (ANNA,), (BEN, ANNA), (CARLA, BEN), (ANNA, BEN, CARLA)]
    wanted = [choices[number % 5] for number in range(60)]
    data = embed(faces, *(sent(*one) for one in wanted), faces="all")
    assert [row["index"] for row in data] == [
        number for number, one in enumerate(wanted) for _ in range(len(one))
    ]
    known = {one: by_hand(face_encoder, *one) for one in choices}
    expected = [embedding for one in wanted for embedding in known[one]]
    np.testing.assert_allclose([row["embedding"] for row in data], expected, atol=1e-5)
