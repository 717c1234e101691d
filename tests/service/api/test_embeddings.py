"""Encoders and embeddings over HTTP, against the encoder called directly."""

import base64
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from models.bundle import add_measurements
from models.images import decode
from models.runtime import load_encoder
from service.app import create_app
from service.settings import Settings
from tests.models.bundles import make_calibration
from tests.service.api.wires import SAFETENSORS, assert_problem, data_uri, unpack

Draw = Callable[..., bytes]


@pytest.fixture(scope="module")
def expected(bundle: Path, picture: Draw) -> np.ndarray[Any, Any]:
    """The embeddings of vehicles 0 to 2, computed without the service."""
    encoder = load_encoder(bundle)
    return encoder.encode(np.stack([decode(picture(identity), (48, 64)) for identity in range(3)]))


def test_a_list_of_data_uris_gives_their_embeddings_in_order(
    stateless: TestClient, picture: Draw, expected: np.ndarray[Any, Any]
) -> None:
    answer = stateless.post("/v1/embeddings", json={"input": [data_uri(picture(one)) for one in range(3)]})
    assert answer.status_code == 200
    body = answer.json()
    assert body["object"] == "list"
    assert body["model"] == "tiny"
    assert [entry["index"] for entry in body["data"]] == [0, 1, 2]
    got = np.array([entry["embedding"] for entry in body["data"]], dtype=np.float32)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("wrap", [data_uri, lambda file: base64.b64encode(file).decode()])
def test_a_single_string_is_a_list_of_one(
    stateless: TestClient, picture: Draw, expected: np.ndarray[Any, Any], wrap: Callable[[bytes], str]
) -> None:
    body = stateless.post("/v1/embeddings", json={"input": wrap(picture(1))}).json()
    np.testing.assert_allclose(body["data"][0]["embedding"], expected[1], atol=1e-6)


def test_base64_is_little_endian_float32(
    stateless: TestClient, picture: Draw, expected: np.ndarray[Any, Any]
) -> None:
    request = {"input": data_uri(picture(2)), "encoding_format": "base64", "model": "tiny", "dimensions": 16}
    encoded = stateless.post("/v1/embeddings", json=request).json()["data"][0]["embedding"]
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(encoded), "<f4"), expected[2], atol=1e-6)


def test_files_of_a_form_and_a_raw_body_are_embedded_too(
    stateless: TestClient, picture: Draw, expected: np.ndarray[Any, Any]
) -> None:
    files = [("input", (f"{one}.png", picture(one), "image/png")) for one in range(2)]
    data = stateless.post("/v1/embeddings", files=files).json()["data"]
    np.testing.assert_allclose([entry["embedding"] for entry in data], expected[:2], atol=1e-6)
    named = stateless.post("/v1/embeddings", files={"file": picture(1)}).json()["data"]
    np.testing.assert_allclose(named[0]["embedding"], expected[1], atol=1e-6)
    raw = stateless.post("/v1/embeddings", content=picture(2), headers={"content-type": "image/png"}).json()
    np.testing.assert_allclose(raw["data"][0]["embedding"], expected[2], atol=1e-6)


def test_safetensors_answers_stack_the_embeddings(
    stateless: TestClient, picture: Draw, expected: np.ndarray[Any, Any]
) -> None:
    request = {"input": [data_uri(picture(one)) for one in range(3)]}
    body, tensors = unpack(stateless.post("/v1/embeddings", json=request, headers={"accept": SAFETENSORS}))
    np.testing.assert_allclose(tensors["embedding"], expected, atol=1e-6)
    assert [entry["index"] for entry in body["data"]] == [0, 1, 2]


def test_more_pictures_than_a_batch_come_back_in_order(
    stateless: TestClient, picture: Draw, expected: np.ndarray[Any, Any]
) -> None:
    order = [(7 * position) % 3 for position in range(70)]
    request = {"input": [data_uri(picture(one)) for one in order]}
    data = stateless.post("/v1/embeddings", json=request).json()["data"]
    np.testing.assert_allclose([entry["embedding"] for entry in data], expected[order], atol=1e-5)


def test_one_bad_picture_among_good_ones_is_named_by_its_position(
    stateless: TestClient, picture: Draw
) -> None:
    good, truncated = picture(0, file_format="JPEG"), picture(1, file_format="JPEG")[:700]
    answer = stateless.post("/v1/embeddings", json={"input": [data_uri(good), data_uri(truncated)]})
    problem = assert_problem(answer, 422, "damaged-image", "/input/1", "send the whole file")
    assert [error["pointer"] for error in problem["errors"]] == ["/input/1"]


@pytest.mark.parametrize(
    ("request_body", "slug", "word"),
    [
        ({"input": []}, "invalid-fields", "at least one"),
        ({"input": [[0.1, 0.2]]}, "invalid-fields", "embedded already"),
        ({"input": 5}, "invalid-fields", "image"),
        ({}, "invalid-fields", "input"),
        ({"input": "hello, world"}, "invalid-image", "base64"),
        ({"input": "aGVsbG8gd29ybGQ="}, "unsupported-image", "text"),
        ({"input": "\u8101\x05l"}, "invalid-image", "base64"),
        ({"input": "https://example.com/a.png"}, "url-not-fetched", "URLs are not fetched"),
        ({"input": "data:image/png,abc"}, "invalid-image", "base64"),
        ({"input": "aGk=", "dimensions": 5}, "invalid-option", "16 dimensions"),
        ({"input": "aGk=", "colour": 1}, "invalid-fields", "there are input, model"),
    ],
)
def test_bad_inputs_say_what_to_do(
    stateless: TestClient, request_body: dict[str, Any], slug: str, word: str
) -> None:
    assert_problem(stateless.post("/v1/embeddings", json=request_body), 422, slug, word)


def test_an_unknown_model_is_not_found(stateless: TestClient, picture: Draw) -> None:
    answer = stateless.post("/v1/embeddings", json={"input": data_uri(picture()), "model": "gpt"})
    assert_problem(answer, 404, "not-found", "'gpt'", "'tiny'")


def test_encoders_and_models_describe_what_is_hosted(stateless: TestClient) -> None:
    body = stateless.get("/v1/encoders").json()
    (encoder,) = body["encoders"]
    assert body["default"] == encoder["name"] == "tiny"
    assert encoder["dimension"] == 16
    assert encoder["input_size"] == {"height": 48, "width": 64}
    assert encoder["metric"] == "euclidean"
    assert len(encoder["fingerprint"]) == 64
    assert (encoder["engine"], encoder["device"]) == ("pytorch", "cpu")
    assert [model["id"] for model in stateless.get("/v1/models").json()["data"]] == ["tiny"]


def test_figures_and_thresholds_of_the_encoder_are_told(bundle: Path, tmp_path: Path) -> None:
    measured = tmp_path / "measured"
    copytree(bundle, measured)
    evaluation, calibration = {"dataset": "drawn", "rank_1": 0.5}, make_calibration("euclidean")
    add_measurements(measured, evaluation=evaluation, calibration=calibration)
    settings = Settings(data_dir=tmp_path / "data", encoder=str(measured), threads=1)
    with TestClient(create_app(settings)) as client:
        (encoder,) = client.get("/v1/encoders").json()["encoders"]
        by_rate = client.post("/v1/verify", json={"a": [1], "b": [2], "far": 0.1})
    assert (encoder["evaluation"], encoder["calibration"]) == (evaluation, calibration)
    assert_problem(by_rate, 409, "conflict", "calibrated for the rates 0.2, 0.1", "GET /v1/encoders")
