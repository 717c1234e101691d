"""Matches that are kept as JSON are those that were found, whatever their names are."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gallery.collection import Match
from service.gallery.named_matches import NamedMatches, json_lists, opening_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
FOUND = st.lists(st.tuples(NAMES, st.none() | NAMES, st.floats(0, 1e30)), max_size=5)


def matches_of(found: list[tuple[str, str | None, float]]) -> NamedMatches:
    return NamedMatches(
        [opening_of(item_id, identity) for item_id, identity, _ in found], [far for _, _, far in found]
    )


@given(queries=st.lists(FOUND, max_size=4))
def test_names_and_distances_come_out_as_they_went_in(
    queries: list[list[tuple[str, str | None, float]]],
) -> None:
    made = [matches_of(found) for found in queries]
    assert [[match[:3] for match in matches] for matches in made] == queries
    wanted: list[list[dict[str, Any]]] = [
        [{"id": item_id, "identity": identity, "distance": far} for item_id, identity, far in found]
        for found in queries
    ]
    assert [orjson.loads(text) for text in json_lists(made)] == wanted


def test_a_match_is_made_for_whoever_asks_for_it() -> None:
    made = matches_of([("a", None, 0.5), ("b", "q", 1.0), ("c", None, math.inf)])
    assert made[1] == made[-2] == Match("b", "q", 1.0)
    assert list(made[1:]) == [Match("b", "q", 1.0), Match("c", None, math.inf)]
    assert len(made[:2]) == 2
    assert Match("a", None, 0.5) in made
    with pytest.raises(IndexError):
        made[3]


def test_a_distance_that_is_no_number_in_json_is_null() -> None:
    (text,) = json_lists([matches_of([("a", None, math.inf)])])
    assert orjson.loads(text) == [{"id": "a", "identity": None, "distance": None}]
