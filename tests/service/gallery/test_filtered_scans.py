"""Filtered searches by codes: right, laid in order as they go on, and given up where something was erased."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from service.gallery.collection import NewItem, SearchOptions
from service.gallery.filters import parse_filter
from tests.service.gallery.conftest import MakeCollection


def test_codes_come_to_lie_in_the_order_of_a_field(collection: MakeCollection) -> None:
    made, random = collection("laid", dimension=8, fields={"n": "integer"}), np.random.default_rng(0)
    rows = random.standard_normal((6_000, 8)).astype(np.float32)
    numbers = random.permutation(6_000).tolist()
    made.upsert([NewItem(f"i{n}", f"p{n}", row, {"n": n}) for n, row in zip(numbers, rows, strict=True)])
    assert made.seal(idle=True)
    made.delete([f"i{n}" for n in (1_000, 1_003)])
    distances = np.linalg.norm(rows - rows[0], axis=1)
    between = [
        SearchOptions(k=3, with_metadata=False, filter=parse_filter({"n": {"gte": first, "lt": first + 700}}))
        for first in (1_000 + at for at in range(90))
    ]
    for at, options in enumerate(between):
        (found,) = made.search(rows[:1], options)
        passing = np.array([1_000 + at <= n < 1_700 + at and n not in (1_000, 1_003) for n in numbers])
        nearest = np.argsort(np.where(passing, distances, np.inf))[:3]
        assert [match.id for match in found] == [f"i{numbers[row]}" for row in nearest.tolist()]
    sealed = made._index.sealed
    assert sealed is not None
    codes = sealed._coding.codes
    assert codes is not None
    assert codes.order is not None
    assert codes.order.name == "n"
    assert made.search_in_memory(rows[:1], between[7]) == made.search(rows[:1], between[7])
    made.erase("p5")
    assert made._index.sealed is not None
    assert made._index.sealed._coding.codes is None  # as it had something of what was erased
    assert len(made.search(rows[:1], between[7])[0]) == 3


def test_several_threads_search_while_codes_are_made_and_laid(collection: MakeCollection) -> None:
    made, random = collection("shared", dimension=8, fields={"n": "integer"}), np.random.default_rng(0)
    rows = random.standard_normal((6_000, 8)).astype(np.float32)
    numbers = random.permutation(6_000)
    made.upsert([NewItem(str(row), None, rows[row], {"n": int(n)}) for row, n in enumerate(numbers)])
    assert made.seal(idle=True)

    def search(number: int) -> None:
        first, query = number % 5_000, rows[number : number + 1] + 0.1
        condition = parse_filter({"n": {"gte": first, "lt": first + 700}})
        (found,) = made.search(query, SearchOptions(k=3, with_metadata=False, filter=condition))
        passing = (numbers >= first) & (numbers < first + 700)
        distances = np.where(passing, np.linalg.norm(rows - query, axis=1), np.inf)
        assert [match.id for match in found] == [str(row) for row in np.argsort(distances)[:3].tolist()]

    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(search, range(400)))) == 400
    assert made._index.sealed is not None
    codes = made._index.sealed._coding.codes
    assert codes is not None
    assert codes.order is not None


def test_what_codes_do_not_tell_is_left_to_a_thread(collection: MakeCollection) -> None:
    made, random = collection("close", dimension=8, fields={"n": "integer"}), np.random.default_rng(0)
    rows = random.standard_normal((6_000, 8)).astype(np.float32)
    rows[:3_000] = rows[0] + 1e-6 * rows[:3_000]
    made.upsert([NewItem(f"i{n}", None, row, {"n": n}) for n, row in enumerate(rows)])
    assert made.seal(idle=True)
    options = SearchOptions(k=3, with_metadata=False, filter=parse_filter({"n": {"lt": 6_000}}))
    for _ in range(3):
        made.search(rows[-1:], options)
    assert made.search_in_memory(rows[-1:], options) is not None
    assert made.search_in_memory(rows[:1], options) is None
    assert made.search(rows[:1], options)[0][0].id == "i0"
