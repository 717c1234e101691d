"""The fresh processes of the benchmark, and what is measured in them."""

import sys

import pytest

from benchmarks.core.cases import Case
from benchmarks.core.children import Children, FailedError, TimedOutError
from benchmarks.core.measuring import measure_memory, measure_times
from benchmarks.core.peers import OURS
from tests.benchmarks.child_work import allocate, answer, die, refuse, sleep

GB = 1_000_000_000
LONG_S = 120.0


@pytest.fixture(scope="module")
def children() -> Children:
    return Children(1, 2 * GB)


def test_every_call_has_a_process_of_its_own(children: Children) -> None:
    first, second = (children.run(answer, value, timeout_s=LONG_S) for value in (1, 2))
    assert (first["value"], second["value"]) == (1, 2)
    assert first["process"] != second["process"]
    assert first["threads"] == 1


def test_what_goes_wrong_is_said(children: Children) -> None:
    with pytest.raises(FailedError, match=r"^RuntimeError: no$"):
        children.run(refuse, timeout_s=LONG_S)
    with pytest.raises(FailedError, match="ended with -9"):
        children.run(die, timeout_s=LONG_S)
    with pytest.raises(TimedOutError):
        children.run(sleep, timeout_s=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is of Linux")
def test_memory_is_bounded(children: Children) -> None:
    assert children.run(allocate, GB // 100, timeout_s=LONG_S) == {"size": GB // 100}
    with pytest.raises(FailedError, match="can't allocate memory"):
        children.run(allocate, 3 * GB, timeout_s=LONG_S)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_extra_memory_includes_the_answer_only(children: Children) -> None:
    case = Case("distances", 2048, 8, backward=False)
    found = children.run(measure_memory, case, "cdist, direct", "cpu", timeout_s=LONG_S)
    answer_bytes = 4 * case.n**2
    assert answer_bytes <= found["bytes"] <= 1.5 * answer_bytes + 2**22
    assert found["seconds"] > 0


def test_peers_take_turns(children: Children) -> None:
    case = Case("batch_all", 32, 8, 4)
    found = children.run(measure_times, case, {OURS: 3, "PML": 1}, "cpu", timeout_s=LONG_S)
    assert {name: len(seconds) for name, seconds in found.items()} == {OURS: 3, "PML": 1}
