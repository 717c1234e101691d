"""What a bundle's manifest says about its face detector."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["DETECTOR", "DetectorKind", "DetectorSpec", "FaceChoice"]

DETECTOR = "detector.onnx"

DetectorKind = Literal["retinaface", "scrfd"]
FaceChoice = Literal["largest", "all", "one"]

_Share = Annotated[float, Field(gt=0, le=1)]


class DetectorSpec(BaseModel):
    """The detector that finds faces in photographs before they are aligned and encoded.

    Attributes:
        kind: how its outputs are read.
        file: beside the manifest.
        sha256: of that file.
        height, width: of its input; a picture is resized to fit, its proportions kept.
        score_threshold: faces below it are not found.
        overlap_threshold: of two that overlap by more, in intersection over union, the better one counts.
        faces: which faces of a picture are meant unless a request says so: the largest, all, or the only one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: DetectorKind
    file: Literal["detector.onnx"] = "detector.onnx"
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    height: int = Field(ge=32, le=4096)
    width: int = Field(ge=32, le=4096)
    score_threshold: _Share
    overlap_threshold: _Share = 0.4
    faces: FaceChoice = "largest"
