"""Requests and answers about the recall of an index."""

from pydantic import ConfigDict, Field, model_validator

from service.api.gallery_schemas import FilterBody
from service.api.samples import Samples
from service.api.schemas import Answer
from service.api.validation import RequestBody

__all__ = ["RecallAnswer", "RecallRequest"]

_MAX_QUERIES = 1_000


class RecallRequest(RequestBody):
    """With what the index is compared with the exact search: queries of your own, or stored items."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sample": 20, "k": 5}]})

    queries: Samples | None = Field(None, description=f"At most {_MAX_QUERIES:,}.")
    sample: int = Field(
        100, ge=1, le=_MAX_QUERIES, description="So many stored items at random, where there are no queries."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of the draw.")
    k: int = Field(10, ge=1, le=1_000)
    filter: FilterBody | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "RecallRequest":
        if self.queries is not None and {"sample", "seed"} & self.model_fields_set:
            raise ValueError("give queries, or sample and seed, and not both")
        if self.queries is not None and len(self.queries) > _MAX_QUERIES:
            raise ValueError(f"at most {_MAX_QUERIES:,} queries are compared at once")
        return self


class RecallInterval(Answer):
    """Where the recall over all such queries probably lies: a bootstrap over the queries."""

    low: float
    high: float
    level: float


class RecallAnswer(Answer):
    """What the index finds of the k nearest, and how long it takes, each query searched with alone."""

    recall: float | None = Field(
        description="The mean share of the k nearest; items as near as the k-th count. null without items."
    )
    interval: RecallInterval | None = Field(None, description="null with fewer than two queries.")
    k: int
    queries: int
    p50_ms: float | None = Field(description="Median by the index, within the server, names read along.")
    exact_p50_ms: float | None = Field(description="Median of comparing with every item, likewise.")
