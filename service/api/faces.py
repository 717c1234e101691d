"""Faces and their quality, as answers show them."""

from typing import Any

from models.faces import Face, Quality
from service.jobs import View

__all__ = ["face_answer", "quality_answer", "seen_fields"]


def seen_fields(view: View, number: int) -> dict[str, Any]:
    """Return what an answer says beside an embedding: its face, or the quality of its crop if measured.

    Args:
        view: what is in the picture.
        number: which of its embeddings it is.
    """
    if view.faces is not None:
        return {"face": face_answer(view.faces[number])}
    return {} if view.quality is None else {"quality": quality_answer(view.quality)}


def face_answer(face: Face) -> dict[str, Any]:
    """Return a face as `FaceAnswer` has it."""
    return {
        "box": face.box,
        "landmarks": face.landmarks,
        "score": face.quality.score,
        "quality": quality_answer(face.quality),
    }


def quality_answer(quality: Quality) -> dict[str, Any]:
    """Return the measures as `QualityAnswer` has them; the score stands with its face."""
    return {"size": quality.size, "sharpness": quality.sharpness, "brightness": quality.brightness}
