"""What is measured, and for how long."""

from dataclasses import dataclass

__all__ = ["BATCHES", "CLIENTS", "FULL", "QUICK", "Plan"]

CLIENTS = (1, 8, 64)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often.

    Attributes:
        pictures: distinct ones.
        rounds: of the loop and of the servers on the same engine; the slower setups have one.
        warm_up_s, timed_s: of each number of clients in `CLIENTS`.
        loop_s: of each arrangement and batch size of the loop.
        bare_calls: one after the other, for their median.
    """

    pictures: int
    rounds: int
    warm_up_s: tuple[int, ...]
    timed_s: tuple[int, ...]
    loop_s: float
    bare_calls: int


FULL = Plan(256, 3, (1, 1, 2), (3, 5, 7), 0.75, 200)
QUICK = Plan(32, 1, (1, 1, 1), (1, 2, 2), 0.2, 20)
