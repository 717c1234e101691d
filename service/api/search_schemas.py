"""Requests and answers about searches."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from torch import Tensor

from service.api.gallery_schemas import FilterBody
from service.api.samples import SAMPLE_SCHEMA, Sample, as_sample
from service.api.schemas import Answer, FaceAnswer, Faces, QualityAnswer, Words
from service.api.validation import RequestBody, pointer_of, validate
from service.api.wire import Upload
from service.errors import InvalidFieldsError
from service.gallery.options import MAX_RERANKED, Rerank

__all__ = [
    "ExampleById",
    "QueryByExamples",
    "QueryById",
    "QueryBySample",
    "QueryBySamples",
    "SearchAnswer",
    "SearchRequest",
]


class _Described(RequestBody):
    """What is known of a query; it counts under `exclude_same`."""

    identity: str | None = Field(None, min_length=1, max_length=256, description="Who or what it shows.")
    metadata: dict[str, Any] = Field({}, description='Such as {"camera": "c1"}.')


class QueryById(_Described):
    """A stored item as the query; it is not found itself. Its identity and metadata count unless given."""

    id: str


class QueryBySample(_Described):
    """A sample as the query."""

    sample: Sample


class QueryBySamples(_Described):
    """Several samples of one subject as one query: the mean of their vectors, under cosine of unit ones."""

    samples: list[Sample] = Field(min_length=1)


class ExampleById(RequestBody):
    """A stored item as an example."""

    id: str


def _example(value: object) -> object:
    return ExampleById.model_validate(value) if isinstance(value, dict) else as_sample(value)


_EXAMPLE: dict[str, Any] = {
    "anyOf": [
        *SAMPLE_SCHEMA["anyOf"],
        {
            "type": "object",
            "title": "ExampleById",
            "properties": {"id": {"type": "string"}},
            "required": ["id"],
            "additionalProperties": False,
        },
    ]
}
Example = Annotated[Any, PlainValidator(_example), WithJsonSchema(_EXAMPLE)]


class QueryByExamples(_Described):
    """Recommend: what is like some and unlike others, none of which is found itself."""

    positive: list[Example] = Field(min_length=1)
    negative: list[Example] = Field([])


_BY_FIELD: dict[str, type[_Described]] = {
    "id": QueryById,
    "sample": QueryBySample,
    "samples": QueryBySamples,
    "positive": QueryByExamples,
    "negative": QueryByExamples,
}


def _queries(value: object) -> object:
    """Take samples and query objects, as a list or as the rows of a tensor."""
    if isinstance(value, Tensor):
        if value.ndim != 2:
            raise ValueError(f"the tensor must be (Q, D), a query a row; it is {tuple(value.shape)}")
        return value
    if not isinstance(value, list) or not value:
        raise ValueError('a list of queries is needed, each a sample or {"id": ...}')
    return [_query(position, query) for position, query in enumerate(value)]


def _query(position: int, query: object) -> object:
    if isinstance(query, dict):
        kinds = {model: name for name, model in _BY_FIELD.items() if name in query}
        if len(kinds) > 1:
            first, second, *_ = kinds.values()
            pointer = pointer_of("queries", position, second)
            message = f"it does not go together with {first}: a query is one of the two"
            raise InvalidFieldsError(f"{pointer[1:]}: {message}.", [(pointer, message)])
        model = next(iter(kinds), QueryBySample)
        return validate(model, query, at=("queries", position))
    if isinstance(query, (str, list, Upload)):
        return query
    raise ValueError('a query is a vector, an image, {"id": ...} or {"sample": ...}')


def _object(title: str, fields: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "title": title,
        "properties": {
            **fields,
            "identity": {"type": "string", "minLength": 1, "maxLength": 256},
            "metadata": {"type": "object"},
        },
        "required": list(required),
        "additionalProperties": False,
    }


def _several(items: dict[str, Any], least: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


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
                    _object("QueryById", {"id": {"type": "string"}}, "id"),
                    _object("QueryBySample", {"sample": SAMPLE_SCHEMA}, "sample"),
                    _object("QueryBySamples", {"samples": _several(SAMPLE_SCHEMA, 1)}, "samples"),
                    _object(
                        "QueryByExamples",
                        {"positive": _several(_EXAMPLE, 1), "negative": _several(_EXAMPLE, 0)},
                        "positive",
                    ),
                ]
            },
        }
    ),
]


class RerankRequest(RequestBody):
    """k-reciprocal re-ranking of the nearest items: what has the same neighbours as the query moves up."""

    method: Literal["k_reciprocal"]
    top: int | None = Field(
        None,
        ge=1,
        le=MAX_RERANKED,
        description="How many of the nearest, k at least; if left out 100, or k where that is more.",
    )
    k1: int = Field(20, ge=1, le=MAX_RERANKED, description="Neighbours that must be mutual.")
    k2: int = Field(6, ge=1, le=MAX_RERANKED, description="Neighbours over which is averaged.")
    weight: float = Field(0.3, ge=0, le=1, description="Of the distance itself (the paper's lambda).")

    def options(self, k: int) -> Rerank:
        """Return them as the gallery takes them, for k matches."""
        usual = min(max(k, Rerank().top), MAX_RERANKED)
        return Rerank(usual if self.top is None else self.top, self.k1, self.k2, self.weight)


def _shareable(field: str) -> str:
    if field == "id":
        raise ValueError(
            "no two items share an id, and a query by id leaves its own item out by itself; name fields of "
            "the metadata, or identity"
        )
    return field


class SearchRequest(RequestBody):
    """What to look for, and among what."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"queries": [[0, 1.2]], "k": 1, "group_by": "identity"},
                {
                    "queries": [{"samples": [[0, 1], [0, 1.5]], "metadata": {"camera": "c1"}}],
                    "exclude_same": ["camera"],
                },
                {"queries": [{"positive": [{"id": "a1"}], "negative": [[5, 6]]}]},
                {"queries": [{"id": "a1"}], "rerank": {"method": "k_reciprocal", "top": 50}},
            ]
        }
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
    exclude_same: list[Annotated[str, Field(min_length=1), AfterValidator(_shareable)]] = Field(
        default_factory=list,  # pydantic copies a list deeply, at each request
        max_length=16,
        json_schema_extra={"default": []},
        description="Fields, not id: no item is found that shares all of them with the query; where it "
        "has an identity, none of that identity that shares them.",
    )
    rerank: RerankRequest | None = Field(None, description="Not with inner_product or group_by.")


class MatchAnswer(Answer):
    """A found item and its exact distance."""

    id: str
    identity: str | None
    distance: float
    rerank_distance: float | None = Field(None, description="Re-ranked, 0 to 1: the order is by it.")
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
    rerank_ms: float | None = Field(None, description="Milliseconds of the re-ranking, beside the search.")
