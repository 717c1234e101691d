"""Small pictures over HTTP: kept where asked for, upright, small, and gone with their item."""

import base64
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.service.api.photographs import ANNA, sent
from tests.service.api.wires import assert_problem, data_uri

Draw = Callable[..., bytes]
C, ITEMS = "/v1/collections/c", "/v1/collections/c/items"


def photograph(width: int, height: int, orientation: int = 1) -> bytes:
    """A JPEG, red on the left and blue on the right as it lies, with a secret in its metadata."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    file, exif = BytesIO(), Image.Exif()
    exif[274], exif[270] = orientation, "a secret place"
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


@pytest.fixture
def keeping(client: TestClient) -> TestClient:
    answer = client.put(C, json={"keep_images": True})
    assert answer.json()["keep_images"] is True
    return client


def image_of(client: TestClient, item_id: str) -> Image.Image:
    answer = client.get(f"{ITEMS}/{item_id}/image")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert b"secret" not in answer.content
    return Image.open(BytesIO(answer.content))


@pytest.mark.parametrize(
    ("width", "height", "orientation", "size"),
    [(1024, 512, 1, (256, 128)), (1024, 512, 6, (128, 256)), (100, 60, 1, (100, 60)), (2000, 2, 1, (256, 1))],
)
def test_a_small_upright_picture_is_kept(
    keeping: TestClient, width: int, height: int, orientation: int, size: tuple[int, int]
) -> None:
    file = photograph(width, height, orientation)
    assert keeping.post(f"{ITEMS}?id=a", content=file, headers={"content-type": "image/jpeg"}).is_success
    image = image_of(keeping, "a")
    assert (image.format, image.size) == ("JPEG", size)
    rgb = np.asarray(image.convert("RGB")).astype(int)
    first, last = rgb[0, 0], rgb[-1, -1]
    assert first[0] - first[2] > 150
    assert last[2] - last[0] > 150


def test_pictures_come_by_every_wire_and_only_those_of_good_items(keeping: TestClient, picture: Draw) -> None:
    items = [
        {"id": "good", "image": data_uri(picture())},
        {"id": "bad", "image": data_uri(picture()[:100])},
        {"id": "vector", "vector": [1.0] * 16},
    ]
    assert keeping.post(ITEMS, json={"items": items}).json()["created"] == 2
    assert keeping.post(ITEMS, files={"file": picture(1)}, data={"id": "form"}).is_success
    for name in ("good", "form"):
        assert image_of(keeping, name).size == (80, 60)
    assert_problem(keeping.get(f"{ITEMS}/vector/image"), 404, "not-found", "enrolled as a vector")
    assert_problem(keeping.get(f"{ITEMS}/bad/image"), 404, "not-found", "no item 'bad'")


def test_a_picture_goes_with_its_item(keeping: TestClient, picture: Draw) -> None:
    items = [{"id": name, "identity": "p", "image": data_uri(picture())} for name in ("a", "b")]
    keeping.post(ITEMS, json={"items": items})
    keeping.post(ITEMS, json={"items": [{"id": "a", "vector": [1.0] * 16}]})
    assert_problem(keeping.get(f"{ITEMS}/a/image"), 404, "not-found")
    keeping.delete(f"{ITEMS}/b")
    keeping.post(ITEMS, json={"items": [{"id": "b", "vector": [1.0] * 16}]})
    assert_problem(keeping.get(f"{ITEMS}/b/image"), 404, "not-found", "vector")


def test_a_collection_keeps_none_unasked(client: TestClient, picture: Draw) -> None:
    assert client.put(C).json()["keep_images"] is False
    client.post(ITEMS, json={"items": [{"id": "a", "image": data_uri(picture())}]})
    assert_problem(client.get(f"{ITEMS}/a/image"), 404, "not-found", "keeps none")
    assert_problem(client.put(C, json={"keep_images": True}), 409, "conflict", "keep_images is false")


def test_photographs_of_faces_are_kept_whole(faces: TestClient) -> None:
    faces.put(C, json={"keep_images": True})
    photo = sent(ANNA)
    with Image.open(BytesIO(base64.b64decode(photo))) as image:
        longer, shorter = max(image.size), min(image.size)
    answer = faces.post(ITEMS, json={"items": [{"id": "a", "image": photo}]})
    assert answer.json()["items"][0]["face"]
    kept = image_of(faces, "a").size
    scale = min(1, 256 / longer)
    assert (max(kept), min(kept)) == (round(scale * longer), round(scale * shorter))
