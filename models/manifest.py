"""What an encoder says about itself: the records of manifest.json and its fingerprint."""

import hashlib
import json
import re
import reprlib
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from models.calibration import Calibration
from models.errors import OptionError
from models.faces.spec import DetectorSpec
from models.images import Resize

__all__ = [
    "FORMAT",
    "NAME",
    "REPORT_NAMES",
    "Architecture",
    "Channels",
    "EncoderSpec",
    "InputSpec",
    "Manifest",
    "Name",
    "OnnxGraph",
    "ReportName",
    "make_record",
]

FORMAT = "lookalike-encoder/1"

Channels = Literal["rgb", "bgr", "grey"]
ReportName = Literal["evaluation.json", "report.html"]
REPORT_NAMES: tuple[ReportName, ...] = get_args(ReportName)


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # an encoder's


def _a_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(
            "an encoder cannot be called so: a letter from A to Z or a digit comes first, and letters, "
            "digits, . _ and - may follow, 64 in all"
        )
    return name


Name = Annotated[str, AfterValidator(_a_name)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


Record = TypeVar("Record", bound=BaseModel)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(_Record):
    """How a picture becomes the network's input: resize to height x width, then (pixel - mean) / std.

    Attributes:
        height, width: in pixels.
        channels: the order that the network expects.
        mean, std: one number a channel, in that order, for pixels from 0 to 255.
        resize: the interpolation; the picture is stretched to fit.
    """

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    channels: Channels = "rgb"
    mean: tuple[Finite, ...]
    std: tuple[Positive, ...]
    resize: Resize = "bilinear"

    @property
    def depth(self) -> int:
        """Return C, the number of channels."""
        return 1 if self.channels == "grey" else 3

    @model_validator(mode="after")
    def _one_number_a_channel(self) -> "InputSpec":
        if not len(self.mean) == len(self.std) == self.depth:
            raise ValueError(f"mean and std need {self.depth} number(s) for {self.channels} input")
        return self


class Architecture(_Record):
    """One of `models.networks.NETWORKS`, with its parameters."""

    name: str
    params: dict[str, int | float | str | bool] = Field(default_factory=dict)


class OnnxGraph(_Record):
    """How an ONNX graph is called.

    Attributes:
        input, output: the tensors' names.
        layout: the order of the input's axes.
        batch: the batch size that the graph insists on; None takes any.
    """

    input: str
    output: str
    layout: Literal["nchw", "nhwc"] = "nchw"
    batch: int | None = Field(default=None, ge=1)


class EncoderSpec(_Record):
    """What the author of an encoder states about it.

    Attributes:
        name: by which the service hosts it.
        description, intended_use, licence: sentences for people.
        architecture: for PyTorch weights; exactly one of this and `onnx` is given.
        onnx: for an ONNX graph.
        input: how pictures become its input.
        dimension: D of its embeddings.
        normalize: whether embeddings are L2-normalised after the network.
        metric: the distance that it was trained for.
        evaluation: how good it is: dataset, split, figures and the counts behind them.
        calibration: the record of a `models.calibration.Calibration`, under `metric`.
        training: the command and configuration that made it.
        derived_from: the fingerprint of the encoder whose network and weights this is for another engine, or
            with a detector.
        detector: finds the faces in photographs, which are then aligned; None where pictures are crops.
    """

    name: Name
    description: str = ""
    intended_use: str = ""
    licence: str = ""
    architecture: Architecture | None = None
    onnx: OnnxGraph | None = None
    input: InputSpec
    dimension: int = Field(ge=1, le=65_536)
    normalize: bool
    metric: Literal["cosine", "euclidean"]
    evaluation: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    derived_from: Sha256 | None = None
    detector: DetectorSpec | None = None

    @field_validator("calibration")
    @classmethod
    def _a_calibration(cls, record: dict[str, Any] | None) -> dict[str, Any] | None:
        """Refuse what is none: somebody would decide by its thresholds."""
        if record is not None:
            Calibration.from_record(record)
        return record

    @model_validator(mode="after")
    def _one_engine(self) -> "EncoderSpec":
        if (self.architecture is None) == (self.onnx is None):
            raise ValueError("exactly one of architecture and onnx must be given")
        return self

    @model_validator(mode="after")
    def _square_for_faces(self) -> "EncoderSpec":
        if self.detector is not None and self.input.height != self.input.width:
            size = f"{self.input.height} x {self.input.width}"
            raise ValueError(f"faces are aligned to a square template, and the encoder's input is {size}")
        return self

    @model_validator(mode="after")
    def _one_metric(self) -> "EncoderSpec":
        measured = self.calibration["metric"] if self.calibration else self.metric
        if measured != self.metric:
            raise ValueError(f"the calibration is of {measured} distances, and the metric is {self.metric}")
        return self


class Manifest(EncoderSpec):
    """The spec together with the hashes of the files beside it; what manifest.json holds."""

    format: Literal["lookalike-encoder/1"]
    weights_file: FileName
    weights_sha256: Sha256
    references_sha256: Sha256
    reports_sha256: dict[ReportName, Sha256] = Field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Return the sha256 of weights and preprocessing: equal fingerprints, comparable embeddings.

        A detector decides where a face's landmarks are, so it counts; its thresholds only decide which faces
        are found.
        """
        decisive = self.model_dump(
            mode="json", include={"weights_sha256", "architecture", "onnx", "input", "dimension", "normalize"}
        )
        if self.detector is not None:
            aligning = {"kind", "sha256", "height", "width"}
            decisive["detector"] = self.detector.model_dump(mode="json", include=aligning)
        canonical = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def make_record(record: type[Record], **values: Any) -> Record:
    """Return a record of values that somebody gave as options.

    Raises:
        OptionError: a value that the record refuses, as a sentence about the first such option.
    """
    try:
        return record(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = str(first["loc"][0]) if first["loc"] else "options"
        raise OptionError(
            f"{where} {reprlib.repr(first['input'])}: "
            f"{first['msg'].removeprefix('Value error, ').removesuffix('.')}.",
            argument=where,
        ) from error
