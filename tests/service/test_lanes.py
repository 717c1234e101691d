"""Batches side by side, in as many lanes as the engine has."""

import os
import sys
import threading

import pytest

from models.engines import Embeddings
from models.images import Pixels
from service.errors import EncoderFailedError
from tests.service.batches import PATIENCE_S, Recorder, Start, numbers, occupy, send, warmed


def test_lanes_run_at_once_and_share_what_waits(start: Start) -> None:
    encoder = Recorder()
    batcher = start(encoder, lanes=2)
    warmed(encoder, batcher)
    first, second = occupy(encoder, batcher, 1), occupy(encoder, batcher, 2)  # each holds a lane
    waiting = send(batcher, 3, 4, 5, 6, 7, 8)
    encoder.free.set()

    assert numbers(waiting.results()) == [3, 4, 5, 6, 7, 8]
    assert (numbers(first.results()), numbers(second.results())) == ([1], [2])
    assert encoder.sizes[:2] == [1, 1]
    assert sum(encoder.sizes) == 8


def test_a_lane_leaves_as_much_for_each_other_that_is_free(start: Start) -> None:
    encoder = Recorder(seconds_a_picture=0.01)
    batcher = start(encoder, lanes=2, most=64)
    for _ in range(4):
        send(batcher, *range(64)).results()

    assert max(encoder.sizes) <= 32  # never all of what came, as a single lane would take


def test_no_lane_takes_more_than_its_share_of_what_waits_and_runs(start: Start) -> None:
    encoder = Recorder()
    batcher = start(encoder, lanes=2)
    warmed(encoder, batcher)
    held = occupy(encoder, batcher, 1), occupy(encoder, batcher, 2)
    waiting = [send(batcher, number) for number in range(3, 12)]
    encoder.meeting = threading.Barrier(2)  # or a lane that is quick takes what is the other's as well
    encoder.free.set()

    assert [numbers(one.results()) for one in (*held, *waiting)] == [[number] for number in range(1, 12)]
    assert encoder.sizes == [1, 1, 5, 4]  # and not 9, while the other lane has nothing


def test_where_one_lane_hangs_all_are_replaced(start: Start) -> None:
    hanging, fresh = Recorder(), Recorder()
    batcher = start(hanging, renew=lambda: fresh, timeout_s=1.5, lanes=2)
    stuck = [occupy(hanging, batcher, 1), occupy(hanging, batcher, 2)]
    behind = send(batcher, 3)

    for result in [*stuck[0].results(), *stuck[1].results(), *behind.results()]:
        assert isinstance(result, EncoderFailedError)
    fresh.free.clear()
    later = [send(batcher, 4), send(batcher, 5)]
    for _ in range(2):
        assert fresh.entered.acquire(timeout=PATIENCE_S)  # both of the new lanes run
    fresh.free.set()
    assert [numbers(one.results()) for one in later] == [[4], [5]]
    hanging.free.set()
    assert batcher.failure is None


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux has a thread a priority of its own")
def test_who_encodes_lets_the_event_loop_go_first(start: Start) -> None:
    nice: list[int] = []

    def encode(pixels: Pixels) -> Embeddings:
        nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return pixels[:, 0, 0, :1].astype("float32")

    main = os.getpriority(os.PRIO_PROCESS, os.getpid())
    send(start(encode, lanes=2), 1, 2, 3).results()
    assert nice == [min(main + 5, 19)] * len(nice)
    assert os.getpriority(os.PRIO_PROCESS, os.getpid()) == main
