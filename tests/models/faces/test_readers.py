"""Outputs of detectors become faces as plain loops over anchors and boxes have it."""

import math

import numpy as np
import pytest

from models.errors import BundleError
from models.faces.detections import Detections, suppress
from models.faces.retinaface import RetinaFace
from models.faces.scrfd import Scrfd

SIZE = (64, 96)  # height, width
RANDOM = np.random.default_rng(3)


def test_retinaface_is_read_as_a_loop_over_its_priors_reads_it() -> None:
    height, width = SIZE
    anchors = 2 * sum((height // step) * (width // step) for step in (8, 16, 32))
    boxes, landmarks = (RANDOM.normal(size=(1, anchors, n)).astype(np.float32) for n in (4, 10))
    scores = RANDOM.uniform(size=(1, anchors, 2)).astype(np.float32)
    found = RetinaFace(SIZE).read([landmarks, boxes, scores], 0.7)
    expected = []
    anchor = 0
    for step, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for row in range(height // step):
            for column in range(width // step):
                for side in sides:
                    if scores[0, anchor, 1] >= 0.7:
                        x, y = (column + 0.5) * step, (row + 0.5) * step
                        dx, dy, dw, dh = boxes[0, anchor]
                        x_mid, y_mid = x + dx * 0.1 * side, y + dy * 0.1 * side
                        w, h = side * math.exp(0.2 * dw), side * math.exp(0.2 * dh)
                        box = [x_mid - w / 2, y_mid - h / 2, x_mid + w / 2, y_mid + h / 2]
                        points = [
                            (x + a * 0.1 * side, y + b * 0.1 * side)
                            for a, b in landmarks[0, anchor].reshape(5, 2)
                        ]
                        expected.append((box, points, scores[0, anchor, 1]))
                    anchor += 1
    assert anchor == anchors
    assert len(expected) > 10
    np.testing.assert_allclose(found.boxes, [one[0] for one in expected], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.landmarks, [one[1] for one in expected], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, [one[2] for one in expected])


def test_scrfd_is_read_as_a_loop_over_its_cells_reads_it() -> None:
    height, width = SIZE
    outputs, expected = [], []
    for stride in (8, 16, 32):
        count = 2 * (height // stride) * (width // stride)
        scores, boxes, landmarks = (RANDOM.uniform(size=(count, n)).astype(np.float32) for n in (1, 4, 10))
        outputs.append((scores, boxes, landmarks))
        anchor = 0
        for y in range(0, height, stride):
            for x in range(0, width, stride):
                for _ in range(2):
                    if scores[anchor, 0] >= 0.6:
                        left, top, right, bottom = boxes[anchor] * stride
                        box = [x - left, y - top, x + right, y + bottom]
                        points = [
                            (x + a * stride, y + b * stride) for a, b in landmarks[anchor].reshape(5, 2)
                        ]
                        expected.append((box, points, scores[anchor, 0]))
                    anchor += 1
    # InsightFace's order: the scores of all strides, then the boxes, then the landmarks.
    ordered = [one[kind] for kind in range(3) for one in outputs]
    for given in (ordered, ordered[::-1], [one[None] for one in ordered]):
        found = Scrfd(SIZE).read(given, 0.6)
        np.testing.assert_allclose(found.boxes, [one[0] for one in expected], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found.landmarks, [one[1] for one in expected], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found.scores, [one[2] for one in expected])


@pytest.mark.parametrize("reader", [RetinaFace, Scrfd])
def test_outputs_for_another_input_size_are_refused(reader: type[RetinaFace] | type[Scrfd]) -> None:
    widths = (4, 2, 10) if reader is RetinaFace else (1, 1, 1, 4, 4, 4, 10, 10, 10)
    with pytest.raises(BundleError, match="at this input size"):
        reader(SIZE).read([np.zeros((1, 7, n), np.float32) for n in widths], 0.5)


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_of_overlapping_faces_the_best_stays(threshold: float) -> None:
    corners = RANDOM.uniform(0, 50, (60, 2))
    boxes = np.concatenate([corners, corners + RANDOM.uniform(5, 40, (60, 2))], axis=1).astype(np.float32)
    boxes[7] = boxes[3]
    scores = RANDOM.uniform(size=60).astype(np.float32).round(1)  # with ties
    landmarks = np.arange(600, dtype=np.float32).reshape(60, 5, 2)
    kept: list[int] = []
    for row in sorted(range(60), key=lambda row: (-scores[row], row)):
        if all(overlap(boxes[row].tolist(), boxes[other].tolist()) <= threshold for other in kept):
            kept.append(row)
    found = suppress(Detections(boxes, landmarks, scores), threshold)
    np.testing.assert_array_equal(found.boxes, boxes[kept])
    np.testing.assert_array_equal(found.landmarks, landmarks[kept])
    np.testing.assert_array_equal(found.scores, scores[kept])


def test_nothing_and_boxes_without_an_area_are_no_trouble() -> None:
    nothing = Detections(*(np.zeros((0, *shape), np.float32) for shape in ((4,), (5, 2), ())))
    assert len(suppress(nothing, 0.5)) == 0
    flat = Detections(np.zeros((2, 4), np.float32), np.zeros((2, 5, 2), np.float32), np.ones(2, np.float32))
    assert len(suppress(flat, 0.5)) == 2
