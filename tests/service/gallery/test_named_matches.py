"""Matches that are kept as JSON are those that were found, whatever their names are."""

import math
from itertools import accumulate
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gallery import named_matches
from service.gallery.collection import Match
from service.gallery.named_matches import NamedMatches, NamedResults, opening_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
FOUND = st.lists(st.tuples(NAMES, st.none() | NAMES, st.floats(-1e30, 1e30)), max_size=5)


def matches_of(found: list[tuple[str, str | None, float]]) -> NamedMatches:
    openings = [opening_of(item_id, identity) for item_id, identity, _ in found]
    return NamedMatches(openings, np.array([far for _, _, far in found], np.float64))


def results_of(queries: list[list[tuple[str, str | None, float]]]) -> NamedResults:
    all_of_them = matches_of([one for found in queries for one in found])
    return NamedResults(all_of_them.openings, all_of_them.distances, list(accumulate(map(len, queries))))


def written(made: NamedResults, before: bytes = b"", after: bytes = b"") -> bytes:
    """Return the list of all results, as an answer has it."""
    return orjson.dumps([orjson.Fragment(part) for part in made.json_parts(before, after)])


@pytest.mark.parametrize("at_once", [1, 3, 10_000])
@given(queries=st.lists(FOUND, max_size=4))
def test_names_and_distances_come_out_as_they_went_in(
    at_once: int, queries: list[list[tuple[str, str | None, float]]]
) -> None:
    made = results_of(queries)
    assert [[match[:3] for match in matches] for matches in made] == queries
    wanted: list[list[dict[str, Any]]] = [
        [{"id": item_id, "identity": identity, "distance": far} for item_id, identity, far in found]
        for found in queries
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(named_matches, "_AT_ONCE", at_once)
        assert written(made) == orjson.dumps(wanted)
        assert written(made, b'{"m":', b"}") == orjson.dumps([{"m": matches} for matches in wanted])
        for first in range(len(queries)):
            assert written(made[first:3]) == orjson.dumps(wanted[first:3])
            assert list(made[first : first + 1].json_parts()) == [orjson.dumps(wanted[first])]


def test_results_are_taken_out_as_those_of_a_list_are() -> None:
    queries: list[list[tuple[str, str | None, float]]] = [[("a", None, 0.5)], [], [("b", "q", 1.0)]]
    made, listed = results_of(queries), [list(matches_of(found)) for found in queries]
    for index in (0, 1, 2, -1, -3):
        assert list(made[index]) == listed[index]
    for taken in (slice(None), slice(1, 3), slice(-1, None), slice(2, 1), slice(5, 9), slice(0, 9)):
        assert list(map(list, made[taken])) == listed[taken]
    with pytest.raises(IndexError):
        made[3]
    with pytest.raises(ValueError, match="follow each other"):
        made[::2]


def test_a_match_is_made_for_whoever_asks_for_it() -> None:
    made = matches_of([("a", None, 0.5), ("b", "q", 1.0), ("c", None, math.inf)])
    assert made[1] == made[-2] == Match("b", "q", 1.0)
    assert list(made[1:]) == [Match("b", "q", 1.0), Match("c", None, math.inf)]
    assert len(made[:2]) == 2
    assert Match("a", None, 0.5) in made
    with pytest.raises(IndexError):
        made[3]


def test_results_are_equal_that_hold_the_same() -> None:
    queries: list[list[tuple[str, str | None, float]]] = [[("a", None, 0.5)], [("b", "q", 1.0)]]
    assert results_of(queries) == results_of(queries)
    assert results_of(queries)[0] == results_of(queries[:1])[0]
    others: list[list[list[tuple[str, str | None, float]]]] = [
        [[("a", None, 0.25)], queries[1]],
        [[("a", "b", 0.5)], queries[1]],
        [queries[0] + queries[1]],
        queries[:1],
    ]
    for other in others:
        assert results_of(queries) != results_of(other)
    assert results_of(queries)[0] != ["a"]
    assert results_of(queries) != queries


def test_a_distance_that_is_no_number_in_json_is_null() -> None:
    (matches,) = results_of([[("a", None, math.inf)]]).json_parts()
    assert orjson.loads(matches) == [{"id": "a", "identity": None, "distance": None}]


def test_as_many_may_find_nothing_as_a_body_has_room_for() -> None:
    count = 300_000  # seconds, if each took what the ones before it took
    assert written(results_of([[]] * count)) == b"[" + b",".join([b"[]"] * count) + b"]"
