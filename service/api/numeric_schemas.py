"""Requests and answers about distances and losses."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema
from torch import Tensor

from service.api.samples import Samples
from service.api.schemas import Answer, ModelName, OneFace
from service.api.validation import RequestBody

__all__ = [
    "BatchLossAnswer",
    "BatchLossRequest",
    "DistancesAnswer",
    "DistancesRequest",
    "TripletLossAnswer",
    "TripletLossRequest",
]

RowMetric = Literal[
    "euclidean",
    "squared_euclidean",
    "cosine",
    "manhattan",
    "chebyshev",
    "minkowski",
    "hamming",
    "kl_divergence",
    "cross_entropy",
]
MatrixMetric = Literal["frobenius", "nuclear"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DistancesRequest(RequestBody):
    """Rows to compare: every x with every y, or pair by pair."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"x": [[0, 0], [3, 4]], "y": [[0, 0]], "metric": "euclidean"}]}
    )

    x: Samples
    y: Samples | None = Field(None, description="Left out: x against itself.")
    metric: RowMetric | MatrixMetric = "euclidean"
    p: Annotated[float, Field(gt=0)] = Field(2, description="The order of minkowski, or of euclidean.")
    paired: bool = Field(False, description="Compare x[i] with y[i] only.")
    normalize: bool = Field(False, description="L2-normalise the rows first.")
    reduction: Literal["none", "mean", "sum"] = "none"
    model: ModelName = None
    faces: OneFace = None


class DistancesAnswer(Answer):
    """Distances: (N, M); (N,) when paired; a number for frobenius, nuclear and a reduction."""

    metric: str
    shape: list[int]
    distances: float | list[float] | list[list[float]]


class TripletLossRequest(RequestBody):
    """Explicit triplets; margin, p, eps and swap as torch has them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "anchor": [[0, 0]],
                    "positive": [[0, 1]],
                    "negative": [[1, 1]],
                    "margin": 0.5,
                    "gradients": True,
                }
            ]
        }
    )

    anchor: Samples
    positive: Samples
    negative: Samples
    margin: Positive = 1.0
    distance: RowMetric = "euclidean"
    p: Annotated[float, Field(gt=0)] | None = Field(
        None, description="The order of the norm (2 if left out); for euclidean and minkowski only."
    )
    eps: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Added to each difference, as torch does (1e-6 if left out); for euclidean only."
    )
    swap: bool = Field(False, description="Use d(positive, negative) where it is smaller.")
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Adds alpha (d_ap + d_an) to each triplet's loss."
    )
    reduction: Literal["none", "mean", "sum", "mean_active"] = "mean"
    gradients: bool = Field(False, description="Also give the gradient for each sample.")
    model: ModelName = None
    faces: OneFace = None


class TripletGradients(Answer):
    """(N, D) each."""

    anchor: list[list[float]]
    positive: list[list[float]]
    negative: list[list[float]]


class TripletLossAnswer(Answer):
    """The loss: a number, or one a triplet with reduction none."""

    loss: float | list[float]
    reduction: str
    valid_triplets: int
    active_triplets: int
    fraction_active: float
    gradients: TripletGradients | None = None


def _labels(value: object) -> object:
    """Take integers and strings, as a list or an integer tensor."""
    if isinstance(value, Tensor):
        if value.ndim != 1 or value.is_floating_point():
            raise ValueError("labels must be a 1-D integer tensor")
        return value
    if not isinstance(value, list) or not all(
        isinstance(label, (int, str)) and not isinstance(label, bool) for label in value
    ):
        raise ValueError("labels must be a list of integers or strings, one a sample")
    return value


Labels = Annotated[
    Any,
    PlainValidator(_labels),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "minItems": 1,
        }
    ),
]


class BatchLossRequest(RequestBody):
    """A labelled batch, from which triplets are mined."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "embeddings": [[0, 0], [0, 1], [1, 1], [1, 2]],
                    "labels": ["a", "a", "b", "b"],
                    "mining": "hard",
                    "margin": 0.2,
                    "return_triplets": 1,
                }
            ]
        }
    )

    embeddings: Samples
    labels: Labels
    mining: Literal["all", "hard", "semi_hard"]
    margin: Positive | Literal["soft"] = 0.2
    distance: RowMetric = "euclidean"
    p: Annotated[float, Field(gt=0)] = Field(2, description="The order of minkowski, or of euclidean.")
    normalize: bool = Field(False, description="L2-normalise the embeddings first.")
    reduction: Literal["none", "mean", "sum", "mean_active"] | None = Field(
        None, description="mean_active for all, mean for hard and semi_hard if left out."
    )
    gradients: bool = Field(False, description="Also give the gradient for each embedding.")
    return_triplets: int = Field(
        0, ge=-1, le=100_000, description="The n triplets with the largest loss; -1 all that were formed."
    )
    model: ModelName = None
    faces: OneFace = None


class MinedTriplet(Answer):
    """A triplet by its positions in the batch."""

    anchor: int
    positive: int
    negative: int
    d_ap: float
    d_an: float
    loss: float


class BatchLossAnswer(Answer):
    """The loss of the mined triplets, and what they were."""

    loss: float | list[float]
    mining: str
    reduction: str
    valid_triplets: int
    active_triplets: int
    fraction_active: float
    easy: int
    semi_hard: int
    hard: int
    skipped_anchors: int
    collapsed: bool
    gradients: list[list[float]] | None = None
    triplets: list[MinedTriplet] | None = None
