"""What is measured, with how much data and for how long."""

from dataclasses import dataclass

__all__ = ["CLIENTS", "FULL", "QUICK", "RECALL", "SHARES", "K", "Plan"]

K = 10
RECALL = 0.99
CLIENTS = (1, 4, 16)
SHARES = (0.5, 0.1, 0.02, 0.005, 0.0001)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much and how long.

    Attributes:
        sizes: items of D = 128 that every peer is searched in.
        rounds: of each of them, in turns.
        checked: distinct queries that are compared with the exact answer: the standard error of a recall of
            .99 is .0005 with 5,000 of them, where 1,000 leave .001 to chance.
        queries: how many of these, the first, make the load.
        warm_up_s, timed_s: of each number of clients.
        filtered: items of the filtered searches.
        large: (items, D) of the collections of the scale test.
        imported: distinct vectors of the import beside the searches.
        written: items of each run of batches; `upserts` single ones are prepared.
        upserts: see there.
        batch: items of one request.
        rest_s: that a server has after its start, in which it may read what it will need.
    """

    sizes: tuple[int, ...]
    rounds: int
    checked: int
    queries: int
    warm_up_s: int
    timed_s: int
    filtered: int
    large: tuple[tuple[int, int], ...]
    imported: int
    written: int
    upserts: int
    batch: int = 500
    rest_s: int = 0


FULL = Plan(
    sizes=(50_000, 500_000),
    rounds=3,
    checked=5_000,
    queries=1_000,
    warm_up_s=1,
    timed_s=4,
    filtered=200_000,
    large=((1_000_000, 128), (200_000, 512)),
    imported=50_000,
    written=100_000,
    upserts=20_000,
    rest_s=6,
)
QUICK = Plan(
    sizes=(20_000,),
    rounds=1,
    checked=100,
    queries=64,
    warm_up_s=1,
    timed_s=1,
    filtered=20_000,
    large=((20_000, 128),),
    imported=5_000,
    written=5_000,
    upserts=1_000,
)
