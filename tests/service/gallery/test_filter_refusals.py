"""What is no filter is refused in words, before much of it is read."""

import functools
from typing import Any

import pytest

from service.errors import FilterError
from service.gallery.filters import parse_filter

NESTED: list[Any] = functools.reduce(lambda inner, _: [inner], range(5000), [])


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "empty"),
        ([], "is an object"),
        ({"camera": {}}, "empty"),
        ({"camera": None}, "exists"),
        ({"camera": ["a"]}, '{"in"'),
        ({"camera": {"in": "a"}}, "list"),
        ({"camera": {"like": "a"}}, "no operator"),
        ({"camera": {"exists": 1}}, "true or false"),
        ({"camera": {"exists": NESTED}}, r"\[\[\.\.\.\]\]"),
        ({"camera": {"gt": True}}, "no order"),
        ({"camera": float("nan")}, "64 bits"),
        ({"camera": 2**63}, "64 bits"),
        ({"camera": "a\0b"}, "NUL"),
        ({"camera": "\ud800"}, "surrogate"),
        ({"cam\0era": 1}, "NUL"),
        ({"and": []}, "at least one"),
        ({"or": {"a": 1}}, "list"),
        ({"not": [{"a": 1}]}, "is an object"),
        ({"camera": {"in": list(range(10_001))}}, "more than 10000 values"),
        ({"or": [{"a": 1}] * 300}, "more than 256 conditions"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(document: object, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        parse_filter(document)


def test_deep_filter_is_refused_before_it_is_read() -> None:
    document: dict[str, Any] = {"a": 1}
    for _ in range(10_000):
        document = {"not": document}
    with pytest.raises(FilterError, match="deep"):
        parse_filter(document)


class Untouched(dict[str, Any]):
    def items(self) -> Any:
        raise AssertionError("read beyond the limit")


@pytest.mark.parametrize("name", ["and", "or"])
def test_reading_stops_at_the_limit(name: str) -> None:
    """However long the rest is: it is not looked at."""
    with pytest.raises(FilterError, match="more than 256 conditions"):
        parse_filter({name: [*[{"a": 1}] * 256, Untouched(a=1)]})
    with pytest.raises(FilterError, match="more than 256 conditions"):
        parse_filter({str(i): i for i in range(500)} | {"z": Untouched(eq=1)})
