"""Requests and answers about encoders, decisions and health, and what all requests have in common."""

from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from models.faces import FaceChoice
from models.manifest import NAME, Name
from service.api.samples import Sample
from service.api.validation import RequestBody

__all__ = [
    "Answer",
    "EmbeddingsAnswer",
    "EmbeddingsRequest",
    "EncoderAnswer",
    "EncoderName",
    "EncodersAnswer",
    "FaceAnswer",
    "Faces",
    "HealthAnswer",
    "HostRequest",
    "Model",
    "ModelName",
    "ModelsAnswer",
    "OneFace",
    "QualityAnswer",
    "VerifyAnswer",
    "VerifyRequest",
    "Words",
]

# A picture of one pixel: enough for an example that runs.
TINY_PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAA"
    "AADElEQVR42mM4oaEBAALUARk7rVwIAAAAAElFTkSuQmCC"
)


class Answer(BaseModel):
    """An answer's fields."""

    model_config = ConfigDict(protected_namespaces=())


Word = TypeVar("Word")
# A list of words; one alone, as a form or a query string has it, is a list of one.
Words = Annotated[list[Word], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]

EncoderName = Annotated[
    Name,
    Path(description="The encoder's name.", json_schema_extra={"pattern": f"^{NAME.pattern}$"}),
]


Faces = Annotated[
    FaceChoice | None,
    Field(
        description="Which faces of a photograph count, where the encoder has a face detector; its own "
        "choice if left out. one: there must be exactly one."
    ),
]


OneFace = Annotated[
    Literal["largest", "one"] | None,
    Field(
        description="Which face of a photograph counts, where the encoder has a face detector; its own "
        "choice if left out, the largest where that is all. one: there must be exactly one."
    ),
]
ModelName = Annotated[
    str | None,
    Field(description="The encoder of the pictures, by its name; the default one if left out."),
]


class QualityAnswer(Answer):
    """How good a picture is to recognise somebody by."""

    size: int = Field(description="The shorter side of the face, or of the picture, in pixels as it came.")
    sharpness: float = Field(description="Variance of the Laplacian at the encoder's size; low is blurred.")
    brightness: float = Field(description="Mean of the grey picture, 0 to 255.")


class FaceAnswer(Answer):
    """A face in a photograph, in pixels of the upright picture."""

    box: list[float] = Field(description="Left, top, right, bottom.")
    landmarks: list[list[float]] = Field(
        description="x, y of the eye on the picture's left, the other, the nose, the corner of the mouth on "
        "the picture's left, the other."
    )
    score: float = Field(description="The detector's, 0 to 1.")
    quality: QualityAnswer


def _one_or_many(value: object) -> object:
    """Take OpenAI's single input as a list of one."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return value
    raise ValueError("an image (data URI or base64) or a list of images is needed")


Inputs = Annotated[
    Any,
    PlainValidator(_one_or_many),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]


class EmbeddingsRequest(RequestBody):
    """Pictures to embed; the shape of OpenAI's request."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": [TINY_PNG], "encoding_format": "float"}]}
    )

    input: Inputs = Field(description="One picture or a list: data URIs, base64, or URLs where they are on.")
    model: ModelName = None
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64 is little-endian float32."
    )
    dimensions: int | None = Field(None, description="Must be the encoder's own dimension if given.")
    faces: Faces = None
    include: Words[Literal["quality"]] = Field([], description="quality: of each crop; faces always have it.")
    user: str | None = Field(None, description="Taken for compatibility, and not used.")


class Embedding(Answer):
    """The embedding of a picture, or of a face in it; `index` is that of the picture in the input."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    face: FaceAnswer | None = None
    quality: QualityAnswer | None = None


class Usage(Answer):
    """Of no meaning here; part of OpenAI's shape."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(Answer):
    """Embeddings in the order of the input."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: Usage


class VerifyRequest(RequestBody):
    """Two samples and a threshold: are they the same?"""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"a": [0, 1], "b": [0, 1.1], "threshold": 0.5}]}
    )

    a: Sample
    b: Sample
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="Same where the distance is below it."
    )
    far: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="A false acceptance rate: refused so far. `GET /v1/encoders` has the thresholds by rate.",
    )
    metric: Literal["cosine", "euclidean"] | None = Field(
        None, description="The encoder's metric if left out."
    )
    model: ModelName = None
    faces: OneFace = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "VerifyRequest":
        if (self.threshold is None) == (self.far is None):
            raise ValueError("give exactly one of threshold and far")
        return self


class VerifyAnswer(Answer):
    """The distance, the threshold it was compared with, and the verdict: distance < threshold."""

    distance: float
    threshold: float
    verified: bool
    metric: str


class EncoderInput(Answer):
    """The size that pictures are resized to, in pixels."""

    height: int
    width: int


class DetectorAnswer(Answer):
    """What finds the faces in photographs."""

    kind: str
    input_size: EncoderInput
    score_threshold: float
    faces: FaceChoice = Field(description="Which faces count unless a request says so.")


class EncoderAnswer(Answer):
    """A hosted encoder."""

    name: str
    description: str
    intended_use: str
    licence: str
    dimension: int
    input_size: EncoderInput
    normalize: bool
    metric: str
    fingerprint: str = Field(description="sha256 of weights and preprocessing.")
    engine: str
    device: str
    detector: DetectorAnswer | None = Field(description="null where a picture is one crop.")
    evaluation: dict[str, Any] | None = Field(description="Dataset, split and figures, with their counts.")
    calibration: dict[str, Any] | None = Field(
        description="Thresholds by false acceptance rate, with the pairs that they were measured on."
    )


class HostRequest(RequestBody):
    """The bundle to host."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"bundle": "vehicle"}]})

    bundle: str = Field(
        min_length=1, description="A shipped encoder's name, or that of a folder in the folder of bundles."
    )


class EncodersAnswer(Answer):
    """The hosted encoders, and the default one's name."""

    default: str
    encoders: list[EncoderAnswer]


class Model(Answer):
    """An encoder in OpenAI's words."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsAnswer(Answer):
    """The hosted encoders as OpenAI lists models."""

    object: Literal["list"]
    data: list[Model]


class HealthAnswer(Answer):
    """How the service stands."""

    status: str
    encoder: str | None = None
    collections: int | None = None
    encode_ms: float | None = None
    search_ms: float | None = None
