"""Photographs of three people as a client sends them, and what an encoder gives for their faces."""

import base64
from typing import Any

from starlette.testclient import TestClient

from models.runtime import Encoder
from tests.models.faces.detectors import file_of, photograph

__all__ = ["ANNA", "BEN", "CARLA", "by_hand", "embed", "enrol", "search", "sent"]

ANNA, BEN, CARLA = (3, 3, "blue", 250), (1, 6, "red", 10), (6, 6, "red", 130)


def sent(*faces: tuple[int, int, str, int], scale: int = 1) -> str:
    return base64.b64encode(file_of(photograph(*faces, scale=scale))).decode()


def by_hand(encoder: Encoder, *faces: tuple[int, int, str, int]) -> list[list[float]]:
    assert encoder.faces is not None
    crops = encoder.faces.find(photograph(*faces), "all").crops
    return [encoder.encode(crop[None])[0].tolist() for crop in crops]


def embed(client: TestClient, *pictures: str, **fields: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/embeddings", json={"input": list(pictures), **fields})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def enrol(client: TestClient) -> None:
    client.put("/v1/collections/people")
    items = [
        {"id": name, "identity": name, "image": sent(face)}
        for name, face in (("anna", ANNA), ("ben", BEN), ("carla", CARLA))
    ]
    assert client.post("/v1/collections/people/items", json={"items": items}).json()["created"] == 3


def search(client: TestClient, *queries: Any, **fields: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/collections/people/search", json={"queries": list(queries), "k": 1, **fields})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results
