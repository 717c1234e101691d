"""Requests and answers about searches."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema
from torch import Tensor

from service.api.gallery_schemas import FilterBody
from service.api.samples import Sample
from service.api.schemas import Answer, FaceAnswer, Faces, QualityAnswer, RequestBody, Words
from service.api.validation import validate
from service.api.wire import Upload

__all__ = ["QueryById", "QueryBySample", "SearchAnswer", "SearchRequest"]


class QueryById(RequestBody):
    """A stored item as the query; it is not found itself."""

    id: str


class QueryBySample(RequestBody):
    """A sample as the query."""

    sample: Sample


def _queries(value: object) -> object:
    """Take samples and query objects, as a list or as the rows of a tensor."""
    if isinstance(value, Tensor):
        if value.ndim != 2:
            raise ValueError(f"the tensor must be (Q, D), a query a row; it is {tuple(value.shape)}")
        return value
    if not isinstance(value, list) or not value:
        raise ValueError('a list of queries is needed, each a sample or {"id": ...}')
    parsed: list[object] = []
    for position, query in enumerate(value):
        if isinstance(query, dict):
            place = ("queries", position)
            if "id" in query:
                parsed.append(validate(QueryById, query, at=place))
            else:
                parsed.append(validate(QueryBySample, query, at=place).sample)
        elif isinstance(query, (str, list, Upload)):
            parsed.append(query)
        else:
            raise ValueError('a query is a vector, an image, {"id": ...} or {"sample": ...}')
    return parsed


Queries = Annotated[
    Any,
    PlainValidator(_queries),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [
                    {"type": "array", "items": {"type": "number"}, "minItems": 1, "title": "Vector"},
                    {"type": "string", "minLength": 1, "title": "Image"},
                    {
                        "type": "object",
                        "title": "QueryById",
                        "properties": {"id": {"type": "string"}},
                        "required": ["id"],
                        "additionalProperties": False,
                    },
                ]
            },
        }
    ),
]


class SearchRequest(RequestBody):
    """What to look for, and among what."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"queries": [[0, 1.2]], "k": 1, "group_by": "identity"}]}
    )

    queries: Queries
    k: int = Field(10, ge=1, description="How many matches; under group_by, how many identities.")
    filter: FilterBody | None = None
    group_by: Literal["identity"] | None = Field(None, description="Each identity's best item only.")
    max_distance: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="Only matches at most this far (inclusive)."
    )
    include: Words[Literal["metadata", "vector", "quality"]] = Field(
        default=["metadata"], description="Of the matches; quality is that of the query's picture."
    )
    faces: Faces = None
    exact: bool = Field(
        False, description="Compare with every item; what an index picks may miss one of a hundred."
    )


class MatchAnswer(Answer):
    """A found item and its exact distance."""

    id: str
    identity: str | None
    distance: float
    metadata: dict[str, Any] | None = None
    vector: list[float] | None = None


class SearchResult(Answer):
    """One query's matches, nearest first; where all faces of photographs count, those of one face."""

    decision: Literal["match", "unknown", "ambiguous"] | None = Field(
        description="null until the collection is calibrated."
    )
    matches: list[MatchAnswer]
    faces: list[FaceAnswer] | None = Field(None, description="Of a photograph: the one searched with.")
    reason: str | None = Field(None, description="Why a photograph was not searched with.")
    query: int | None = Field(None, description="The query's position, where all faces count.")
    quality: QualityAnswer | None = None


class SearchAnswer(Answer):
    """The results in the order of the queries."""

    metric: str
    results: list[SearchResult]
