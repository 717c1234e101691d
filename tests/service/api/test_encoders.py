"""Several encoders side by side, replaced by an operator while the server runs."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import SecretStr
from starlette.testclient import TestClient

from models.bundle import Architecture, EncoderSpec, InputSpec
from models.networks import build_network
from models.runtime import save_encoder
from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import assert_problem, data_uri

Draw = Callable[..., bytes]
KEY = {"Authorization": "Bearer second"}


def other_bundle(folder: Path, seed: int = 1) -> Path:
    """Write a bundle of other weights, of 8 dimensions."""
    torch.manual_seed(seed)
    params: dict[str, int | float | str | bool] = {"dimension": 8}
    spec = EncoderSpec(
        name="other",
        architecture=Architecture(name="small_resnet", params=params),
        input=InputSpec(height=32, width=32, mean=(127.5,) * 3, std=(64.0,) * 3),
        dimension=8,
        normalize=True,
        metric="cosine",
    )
    inputs = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    save_encoder(folder, spec, build_network("small_resnet", **params).state_dict(), inputs)
    return folder


@pytest.fixture
def operated(settings: Settings, bundle: Path, tmp_path: Path) -> Settings:
    """Settings of a server whose operators have two keys and a folder of two bundles."""
    bundles = tmp_path / "bundles"
    other_bundle(bundles / "other")
    shutil.copytree(bundle, bundles / "copy")
    return settings.model_copy(update={"bundles_dir": bundles, "operator_keys": SecretStr("first, second")})


@pytest.fixture
def client(operated: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(operated)) as client:
        yield client


def names(client: TestClient) -> list[str]:
    return [one["name"] for one in client.get("/v1/encoders").json()["encoders"]]


def embed(client: TestClient, picture: bytes, model: str | None = None) -> list[float]:
    answer = client.post("/v1/embeddings", json={"input": data_uri(picture), "model": model})
    assert answer.status_code == 200, answer.text
    embedding: list[float] = answer.json()["data"][0]["embedding"]
    return embedding


def test_several_are_hosted_from_the_start(operated: Settings, picture: Draw) -> None:
    folder = operated.bundles_dir / "other"
    settings = operated.model_copy(update={"encoders": f"{folder}, zweiter={folder}"})
    with TestClient(create_app(settings)) as client:
        assert client.get("/v1/encoders").json()["default"] == "tiny"
        assert names(client) == ["tiny", "other", "zweiter"]
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == names(client)
        assert len(embed(client, picture())) == 16
        assert embed(client, picture(), "other") == pytest.approx(embed(client, picture(), "zweiter"))
        client.put("/v1/collections/c", json={"encoder": "zweiter"})
        for identity in range(3):
            client.post(
                "/v1/collections/c/items",
                files=[("file", picture(identity))],
                data={"identity": str(identity)},
            )
        found = client.post("/v1/collections/c/search", json={"queries": [data_uri(picture(2))], "k": 1})
        assert found.json()["results"][0]["matches"][0]["identity"] == "2"
        assert client.get("/health/ready").status_code == 200


def test_a_comparison_names_its_encoder_and_takes_its_metric(operated: Settings, picture: Draw) -> None:
    settings = operated.model_copy(update={"encoders": str(operated.bundles_dir / "other")})
    pair = {"a": data_uri(picture(0)), "b": data_uri(picture(1)), "threshold": 1}
    with TestClient(create_app(settings)) as client:
        a, b = (embed(client, picture(identity), "other") for identity in range(2))
        told = client.post("/v1/verify", json={**pair, "model": "other"}).json()
        assert (told["metric"], client.post("/v1/verify", json=pair).json()["metric"]) == (
            "cosine",
            "euclidean",
        )
        cosine = np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
        assert told["distance"] == pytest.approx(1 - cosine, abs=1e-6)


def test_one_is_replaced_and_its_collections_say_so(client: TestClient, picture: Draw) -> None:
    client.put("/v1/collections/c")
    before = embed(client, picture())

    answer = client.put("/v1/encoders/tiny", json={"bundle": "other"}, headers=KEY)

    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["dimension"]) == ("tiny", 8)
    assert names(client) == ["tiny"]
    assert len(embed(client, picture())) == 8
    refused = client.post("/v1/collections/c/search", json={"queries": [data_uri(picture())]})
    assert_problem(refused, 409, "encoder-mismatch", "host the old one too")
    assert client.put("/v1/encoders/old", json={"bundle": "copy"}, headers=KEY).status_code == 201
    assert client.post("/v1/collections/c/search", json={"queries": [data_uri(picture())]}).status_code == 200
    assert embed(client, picture(), "old") == pytest.approx(before, abs=1e-6)


def test_no_request_is_lost_while_encoders_are_replaced(client: TestClient, picture: Draw) -> None:
    pictures = [picture(identity) for identity in range(4)]
    expected = {
        16: [embed(client, one) for one in pictures],
        8: [],
    }
    client.put("/v1/encoders/tiny", json={"bundle": "other"}, headers=KEY)
    expected[8] = [embed(client, one) for one in pictures]
    failures: list[Any] = []
    stop = threading.Event()

    def ask(which: int) -> None:
        while not stop.is_set():
            answer = client.post("/v1/embeddings", json={"input": data_uri(pictures[which])})
            if answer.status_code != 200:
                failures.append(answer.text)
                return
            found = answer.json()["data"][0]["embedding"]
            if not np.allclose(found, expected[len(found)][which], atol=1e-5):
                failures.append(found)

    threads = [threading.Thread(target=ask, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        name = ("copy", "other")[turn % 2]
        assert client.put("/v1/encoders/tiny", json={"bundle": name}, headers=KEY).status_code == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_bundle_that_cannot_be_hosted_changes_nothing(
    client: TestClient, operated: Settings, picture: Draw
) -> None:
    weights = operated.bundles_dir / "other" / "weights.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(damaged)

    answer = client.put("/v1/encoders/tiny", json={"bundle": "other"}, headers=KEY)

    assert_problem(answer, 422, "bundle-refused", "Nothing was changed.")
    assert len(embed(client, picture())) == 16
    assert client.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        "..",
        ".",
        "/etc",
        "nothing",
        "x" * 300,
        "a\0b",
        "other/",
        "other/..",
        "copy/../other",
        "../bundles/other",
        "{}",
    ],
)
def test_a_bundle_is_named_by_its_folder_and_by_nothing_else(
    client: TestClient, operated: Settings, wanted: str
) -> None:
    wanted = wanted.replace("{}", str(operated.bundles_dir / "other"))
    refused = client.put("/v1/encoders/x", json={"bundle": wanted}, headers=KEY)
    assert_problem(refused, 422, "bundle-refused", "There is no bundle", "not a path to it")
    assert names(client) == ["tiny"]


def test_a_name_that_no_encoder_can_have_is_told_how_one_is_made(client: TestClient) -> None:
    for name in ("-x", "x" * 65, "a b"):
        for refused in (
            client.put(f"/v1/encoders/{name}", json={"bundle": "other"}, headers=KEY),
            client.delete(f"/v1/encoders/{name}", headers=KEY),
        ):
            assert_problem(
                refused, 422, "invalid-fields", "path/name: an encoder cannot be called so: a letter"
            )


def test_what_is_there_and_no_bundle_is_told_apart(
    client: TestClient, operated: Settings, tmp_path: Path
) -> None:
    bundles = operated.bundles_dir
    (bundles / "empty").mkdir()
    (bundles / "file").touch()
    (bundles / "bare").mkdir()
    (bundles / "bare" / "model.onnx").touch()
    (bundles / "out").symlink_to(tmp_path)
    for wanted, reason in {
        "empty": "is an empty folder",
        "file": "is a file and no folder",
        "bare": "holds no manifest.json",
        "out": "a link that leads out",
    }.items():
        refused = client.put("/v1/encoders/x", json={"bundle": wanted}, headers=KEY)
        assert_problem(refused, 422, "bundle-refused", f"'{wanted}'", reason)


def test_shipped_ones_are_known_by_name(client: TestClient) -> None:
    answer = client.put("/v1/encoders/cars", json={"bundle": "vehicle"}, headers=KEY)
    assert answer.status_code == 201
    assert names(client) == ["tiny", "cars"]
    assert 'lookalike_waiting_images{encoder="cars"} 0.0' in client.get("/metrics").text
    assert client.delete("/v1/encoders/cars", headers=KEY).status_code == 204
    assert names(client) == ["tiny"]
    assert 'lookalike_waiting_images{encoder="cars"}' not in client.get("/metrics").text


def test_the_default_and_what_is_not_there_cannot_be_removed(client: TestClient) -> None:
    assert_problem(client.delete("/v1/encoders/tiny", headers=KEY), 409, "conflict", "default")
    assert_problem(client.delete("/v1/encoders/none", headers=KEY), 404, "not-found", "'tiny'")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer third", "Basic second", "second", "Bearer first, second"]
)
def test_operators_alone_replace_encoders(client: TestClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for answer in (
        client.put("/v1/encoders/tiny", json={"bundle": "other"}, headers=headers),
        client.delete("/v1/encoders/tiny", headers=headers),
    ):
        assert_problem(answer, 401, "unauthorized", "Authorization: Bearer KEY")
        assert answer.headers["www-authenticate"] == "Bearer"
    for key in ("first", "second"):
        wanted = {"Authorization": f"bearer {key}"}
        assert client.put("/v1/encoders/tiny", json={"bundle": "copy"}, headers=wanted).status_code == 200


def test_without_keys_nobody_does(stateless: TestClient) -> None:
    answer = stateless.put("/v1/encoders/tiny", json={"bundle": "vehicle"}, headers=KEY)
    assert_problem(answer, 403, "forbidden", "LOOKALIKE_OPERATOR_KEYS")


def test_two_of_one_name_are_refused_at_the_start(operated: Settings) -> None:
    settings = operated.model_copy(update={"encoders": f"tiny={operated.bundles_dir / 'other'}"})
    with (
        pytest.raises(Exception, match="Two encoders are called 'tiny'"),
        TestClient(create_app(settings)),
    ):
        pass
