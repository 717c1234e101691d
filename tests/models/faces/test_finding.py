"""From a photograph to its faces: where they are, which are meant, and what their crops show."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import BundleError
from models.faces import MOST_FACES, Detector, DetectorSpec, FaceChoice, FaceFinder, Graph, kind_of
from models.faces.alignment import TEMPLATE
from tests.models.faces.detectors import SIDE, photograph, retinaface_graph, stub_graph

THREE = ((1, 1, "red", 40), (5, 5, "blue", 120), (1, 6, "red", 200))


def spec_of(graph: bytes, **changes: Any) -> DetectorSpec:
    usual = {"kind": "retinaface", "height": SIDE, "width": SIDE, "score_threshold": 0.6}
    return DetectorSpec(**{**usual, "sha256": hashlib.sha256(graph).hexdigest(), **changes})


def finder(*, side: int = 32, grey: bool = False, degrees: float = 0, **changes: Any) -> FaceFinder:
    graph = retinaface_graph(degrees=degrees)
    spec = spec_of(graph, **changes)
    return FaceFinder(Detector(graph, spec), side=side, grey=grey, usual=spec.faces)


@pytest.mark.parametrize("scale", [1, 3])
def test_boxes_and_landmarks_are_in_pixels_of_the_picture(scale: int) -> None:
    found = finder().find(photograph(*THREE, scale=scale), "all")
    large, *small = found.faces
    np.testing.assert_allclose(large.box, np.array([28, 28, 60, 60]) * scale, atol=0.02)
    boxes = sorted(face.box for face in small)
    np.testing.assert_allclose(boxes, np.array([[4, 4, 20, 20], [44, 4, 60, 20]]) * scale, atol=0.02)
    expected = (28 + TEMPLATE * (32 / 112)) * scale
    np.testing.assert_allclose(large.landmarks, expected, atol=0.02)
    assert [face.quality.size for face in found.faces] == [32 * scale, 16 * scale, 16 * scale]
    assert all(face.quality.score is not None and face.quality.score > 0.9 for face in found.faces)


@pytest.mark.parametrize("size", [(64, 32), (24, 64)])
def test_proportions_are_kept_where_the_picture_is_not_the_detectors_size(size: tuple[int, int]) -> None:
    picture = photograph((1, 2, "red", 90), size=size, scale=4)
    (face,) = finder().find(picture).faces
    np.testing.assert_allclose(face.box, np.array([12, 4, 28, 20]) * 4, atol=0.1)


@pytest.mark.parametrize(
    ("choice", "faces", "crops"), [("largest", 1, 1), ("all", 3, 3), ("one", 3, 0), (None, 1, 1)]
)
def test_which_faces_are_meant(choice: FaceChoice | None, faces: int, crops: int) -> None:
    found = finder().find(photograph(*THREE), choice)
    assert (len(found.faces), len(found.crops)) == (faces, crops)
    assert found.faces[0].quality.size == 32
    alone = finder().find(photograph(THREE[0]), choice)
    assert (len(alone.faces), len(alone.crops)) == (1, 1)
    nobody = finder().find(photograph(), choice)
    assert (nobody.faces, nobody.crops) == ((), ())


def test_a_crop_shows_the_face_that_it_belongs_to() -> None:
    found = finder(side=32).find(photograph(*THREE), "all")
    assert [crop.shape for crop in found.crops] == [(32, 32, 3)] * 3
    for face, crop in zip(found.faces, found.crops, strict=True):
        left, top, right, bottom = (round(side) for side in face.box)
        region = photograph(*THREE)[top:bottom, left:right]
        enlarged = region.repeat(32 // len(region), axis=0).repeat(32 // len(region), axis=1)
        assert np.abs(crop.astype(float) - enlarged)[2:-2, 2:-2].mean() < 8


def test_a_tilted_face_is_turned_upright() -> None:
    picture = photograph((3, 3, "blue", 0))
    picture[12:44, 12:28, 1] = 200  # its left half is green
    (upright,) = finder().find(picture).crops
    (turned,) = finder(degrees=90).find(picture).crops
    # Landmarks turned clockwise: the picture's left is then the upright face's lower half.
    assert upright[4:28, 4:12, 1].mean() > 100 + upright[4:28, 20:28, 1].mean()
    assert turned[20:28, 4:28, 1].mean() > 100 + turned[4:12, 4:28, 1].mean()


def test_grey_encoders_get_grey_crops() -> None:
    (crop,) = finder(grey=True).find(photograph(THREE[0])).crops
    assert crop.shape == (32, 32, 1)


def test_a_higher_threshold_finds_less() -> None:
    faint = photograph(THREE[0])
    faint[..., 0] = faint[..., 0] // 255 * 190
    assert len(finder(score_threshold=0.2).find(faint).faces) == 1
    assert len(finder(score_threshold=0.9).find(faint).faces) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_tiny_and_narrow_pictures_are_no_trouble(shape: tuple[int, int]) -> None:
    found = finder().find(np.full((*shape, 3), 255, np.uint8), "all")
    for face in found.faces:
        left, top, right, bottom = face.box
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]


def hostile(change: dict[str, float]) -> bytes:
    """Return a detector that is sure of a face everywhere, with some outputs changed."""
    anchors = 168
    outputs = {"boxes": (4, 0.0), "scores": (2, 1.0), "landmarks": (10, 0.0)}
    arrays = {name: np.full((1, anchors, n), value, np.float32) for name, (n, value) in outputs.items()}
    arrays["landmarks"] += np.linspace(-4, 4, 10, dtype=np.float32)
    for name, value in change.items():
        arrays[name] += np.float32(value)
    return stub_graph(list(arrays.values()), [1, 3, SIDE, SIDE])


@pytest.mark.parametrize(
    "change", [{"boxes": np.nan}, {"boxes": 1e6}, {"landmarks": np.inf}, {"scores": np.nan}, {"boxes": -1e6}]
)
def test_outputs_beyond_all_bounds_are_no_faces(change: dict[str, float]) -> None:
    graph = hostile(change)
    picture = photograph(*THREE)
    found = FaceFinder(Detector(graph, spec_of(graph)), side=32, grey=False, usual="all").find(picture)
    assert found.faces == ()


def test_the_faces_of_one_picture_are_bounded() -> None:
    graph = hostile({})
    spec = spec_of(graph, overlap_threshold=1.0)
    found = FaceFinder(Detector(graph, spec), side=32, grey=False, usual="all").find(photograph())
    assert len(found.crops) == len(found.faces) == MOST_FACES


def test_what_is_no_detector_is_refused() -> None:
    with pytest.raises(BundleError, match="cannot load the detector"):
        Graph(b"no graph")
    with pytest.raises(BundleError, match="one input, colour pictures"):
        Graph(stub_graph([np.zeros(3, np.float32)], [1, 1, SIDE, SIDE]))
    two = Graph(retinaface_graph(landmarks=False))
    with pytest.raises(BundleError, match="no five landmarks"):
        kind_of(two, (SIDE, SIDE))
    odd = Graph(stub_graph([np.zeros((5, 10), np.float32)], [1, 3, SIDE, SIDE]))
    with pytest.raises(BundleError, match="neither RetinaFace's"):
        kind_of(odd, (SIDE, SIDE))
    graph = retinaface_graph()
    with pytest.raises(BundleError, match="the manifest says"):
        Detector(graph, spec_of(graph, height=128))
    with pytest.raises(BundleError, match="SCRFD"):
        Detector(graph, spec_of(graph, kind="scrfd"))


def test_scrfd_is_told_by_its_outputs() -> None:
    counts = [2 * (SIDE // stride) ** 2 for stride in (8, 16, 32)]
    outputs = [np.zeros((count, n), np.float32) for n in (1, 4, 10) for count in counts]
    outputs[0][2 * (8 * 3 + 3)] = 0.9  # the stride of 8, the cell at row 3 and column 3
    outputs[3][:] = 2.0
    outputs[6][:] = (TEMPLATE - 56).reshape(-1) / 28
    graph = stub_graph(outputs, ["batch", 3, "height", "width"])
    assert Graph(graph).size is None
    assert kind_of(Graph(graph), (SIDE, SIDE)) == "scrfd"
    (face,) = (
        FaceFinder(Detector(graph, spec_of(graph, kind="scrfd")), side=32, grey=False, usual="all")
        .find(photograph())
        .faces
    )
    assert face.box == (8, 8, 40, 40)


def test_nothing_here_needs_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finder()
    assert not list(tmp_path.iterdir())
