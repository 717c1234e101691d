"""Pictures are decoded by threads of their own, or by the lanes that encode them."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from models.errors import DamagedImageError
from models.images import Pixels
from service.decoding import DecodePool
from service.errors import EncoderFailedError
from service.jobs import Job
from service.telemetry import Telemetry
from service.turns import NONE_UNDECODED, Undecoded
from tests.service.batches import PATIENCE_S, Recorder, Start, Waiter, numbers, occupy, picture, send, warmed


class Decoder:
    """Makes of a picture its position and keeps who decoded it; one at `broken` is damaged."""

    def __init__(self, broken: int = -1) -> None:
        self.threads: list[str] = []
        self._broken = broken

    def __call__(self, job: Job, position: int) -> Sequence[Pixels]:
        self.threads.append(threading.current_thread().name)
        if position == self._broken:
            raise DamagedImageError("It is cut off.")
        return [picture(position)]


def pool_of(decode: Callable[[Job, int], Sequence[Pixels]], threads: int) -> DecodePool:
    return DecodePool(decode, threads=threads, ahead=16, metrics=Telemetry().of_encoder("tiny"))


def ask(pool: DecodePool, count: int) -> Waiter:
    waiter = Waiter(count)
    pool.add(waiter.job)
    return waiter


@pytest.mark.parametrize(
    ("threads", "lanes", "who"), [(0, 1, "encoder"), (0, 2, "encoder"), (2, 2, "decoder")]
)
def test_who_decodes(start: Start, threads: int, lanes: int, who: str) -> None:
    decode, encoder = Decoder(broken=5), Recorder()
    pool = pool_of(decode, threads)
    pool.start(start(encoder, lanes=lanes, source=pool))
    results = [ask(pool, 9).results() for _ in range(10)]
    pool.close()

    for found in results:
        assert numbers(found) == [0, 1, 2, 3, 4, 6, 7, 8]
        assert isinstance(found[5], DamagedImageError)
    assert len(decode.threads) == 90
    assert all(name.startswith(who) for name in decode.threads)
    assert pool.undecoded() == NONE_UNDECODED


def test_lanes_decode_for_a_whole_batch_and_by_turns(start: Start) -> None:
    decode, encoder = Decoder(), Recorder()
    pool = pool_of(decode, 0)
    batcher = start(encoder, source=pool)
    pool.start(batcher)
    ask(pool, 9).results()  # batches may now be large
    while encoder.entered.acquire(blocking=False):
        pass
    encoder.free.clear()
    first = ask(pool, 1)
    assert encoder.entered.acquire(timeout=PATIENCE_S)
    long, short = ask(pool, 20), ask(pool, 1)
    assert pool.undecoded() == Undecoded(pictures=21, requests=2, single=1)
    encoder.sizes.clear()
    encoder.firsts.clear()
    encoder.free.set()

    assert numbers(first.results()) == numbers(short.results()) == [0]
    assert numbers(long.results()) == list(range(20))
    assert encoder.sizes == [
        2,
        8,
        8,
        3,
    ]  # both requests' first, for the short one is then done; then the long one's
    assert encoder.firsts[0] == [0, 0]
    pool.close()


def test_a_single_picture_is_decoded_before_the_rest_of_what_others_have_decoded(start: Start) -> None:
    encoder = Recorder()
    pool = pool_of(Decoder(), 0)
    batcher = start(encoder, source=pool)
    pool.start(batcher)
    warmed(encoder, batcher)
    held = occupy(encoder, batcher, 99)
    long, short = send(batcher, *range(1, 21)), ask(pool, 1)
    encoder.firsts.clear()
    encoder.free.set()

    assert numbers(short.results()) == [0]
    assert numbers(long.results()) == list(range(1, 21))
    assert numbers(held.results()) == [99]
    assert encoder.firsts[0] == [1, 0]
    pool.close()


def test_what_a_lane_decodes_is_a_part_of_its_batch_time(start: Start) -> None:
    def decode(job: Job, position: int) -> Sequence[Pixels]:
        time.sleep(0.05)
        return [picture(position)]

    encoder = Recorder()
    pool = pool_of(decode, 0)
    pool.start(start(encoder, target_s=0.2, source=pool))
    ask(pool, 30).results()
    assert max(encoder.sizes) <= 4  # of 0.05 s each, whose encoding takes next to nothing
    pool.close()


class Meanwhile(DecodePool):
    """Where the requests that a lane was about to decode leave, and others come before it hears of that."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.leaving: Waiter | None = None
        self.coming: Waiter | None = None
        self.came = threading.Event()

    def decode_one(self) -> bool:
        if self.leaving is None:
            return super().decode_one()
        self.drop(self.leaving.job)
        self.leaving = None
        another = super().decode_one()
        self.coming = ask(self, 1)
        self.came.set()
        return another


def test_a_lane_that_finds_nothing_any_more_sees_what_came_meanwhile(start: Start) -> None:
    encoder = Recorder()
    pool = Meanwhile(Decoder(), threads=0, ahead=16, metrics=Telemetry().of_encoder("tiny"))
    batcher = start(encoder, source=pool)
    pool.start(batcher)
    running = occupy(encoder, batcher, 1)
    pool.leaving = ask(pool, 1)
    encoder.free.set()
    assert numbers(running.results()) == [1]
    assert pool.came.wait(PATIENCE_S)
    assert pool.coming is not None
    assert numbers(pool.coming.results()) == [0]
    pool.close()


def test_a_decoder_that_breaks_off_is_an_error_of_its_picture_and_the_lane_goes_on(start: Start) -> None:
    def decode(job: Job, position: int) -> Sequence[Pixels]:
        if position == 1:
            raise SystemExit
        return [picture(position)]

    pool = pool_of(decode, 0)
    pool.start(start(Recorder(), source=pool))
    results = ask(pool, 3).results()
    assert numbers(results) == [0, 2]
    assert "SystemExit" in str(results[1])
    assert numbers(ask(pool, 1).results()) == [0]
    pool.close()


def test_what_is_not_decoded_when_the_encoder_hangs_does_not_wait_for_the_next_one(start: Start) -> None:
    loaded = threading.Event()

    def renew() -> Recorder:
        assert loaded.wait(PATIENCE_S)
        return Recorder()

    hanging = Recorder()
    pool = pool_of(Decoder(), 0)
    pool.start(start(hanging, renew=renew, timeout_s=1.5, source=pool))
    hanging.free.clear()
    stuck = ask(pool, 1)
    assert hanging.entered.acquire(timeout=PATIENCE_S)
    behind = ask(pool, 30)
    for result in [*stuck.results(), *behind.results()]:
        assert isinstance(result, EncoderFailedError)
        assert "Send the pictures again" in str(result)
    loaded.set()
    assert numbers(ask(pool, 2).results()) == [0, 1]
    hanging.free.set()
    pool.close()


def test_where_nothing_is_encoded_any_more_nothing_waits_to_be_decoded(start: Start) -> None:
    def renew() -> Recorder:
        raise EncoderFailedError("The bundle is gone.")

    encoder = Recorder()
    pool = pool_of(Decoder(), 0)
    batcher = start(encoder, renew=renew, timeout_s=0.3, source=pool)
    pool.start(batcher)
    encoder.free.clear()
    stuck = ask(pool, 1)
    assert encoder.entered.acquire(timeout=PATIENCE_S)
    behind = ask(pool, 3)
    for result in [*stuck.results(), *behind.results()]:
        assert isinstance(result, EncoderFailedError)
    deadline = time.monotonic() + PATIENCE_S
    while batcher.failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    (late,) = ask(pool, 1).results()
    assert "could not be loaded again" in str(late)
    encoder.free.set()
    pool.close()


def test_what_waits_when_it_is_closed_gets_an_error(start: Start) -> None:
    encoder = Recorder()
    pool = pool_of(Decoder(), 0)
    batcher = start(encoder, source=pool)
    pool.start(batcher)
    encoder.free.clear()
    running = ask(pool, 1)
    assert encoder.entered.acquire(timeout=PATIENCE_S)
    waiting = ask(pool, 3)
    pool.close()
    for result in [*waiting.results(), *ask(pool, 1).results()]:
        assert isinstance(result, EncoderFailedError)
    encoder.free.set()
    assert numbers(running.results()) == [0]


def test_a_lane_replaced_while_it_decodes_leaves_its_picture_to_the_others(start: Start) -> None:
    held, decoding = threading.Event(), threading.Event()

    def decode(job: Job, position: int) -> Sequence[Pixels]:
        if not decoding.is_set():
            decoding.set()
            assert held.wait(PATIENCE_S)
        return [picture(position)]

    hanging, fresh = Recorder(), Recorder()
    pool = pool_of(decode, 0)
    batcher = start(hanging, renew=lambda: fresh, timeout_s=0.3, lanes=2, source=pool)
    pool.start(batcher)
    stuck = occupy(hanging, batcher, 1)
    job = ask(pool, 1)
    assert decoding.wait(PATIENCE_S)
    (lost,) = stuck.results()
    assert isinstance(lost, EncoderFailedError)
    np.testing.assert_array_equal(numbers(ask(pool, 1).results()), [0])  # the new lanes are there
    held.set()
    assert numbers(job.results()) == [0]
    hanging.free.set()
    pool.close()
