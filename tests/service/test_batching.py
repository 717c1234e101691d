"""Every picture gets its result or an exception, whatever the encoder does."""

import threading
import time
import weakref

import numpy as np
import numpy.typing as npt

from models.errors import BundleError
from service.batch_size import BatchSize
from service.batching import Encode
from service.errors import EncoderFailedError
from tests.service.batches import (
    BAD,
    PATIENCE_S,
    Elsewhere,
    Pixels,
    Recorder,
    Start,
    numbers,
    occupy,
    send,
    warmed,
)


def test_a_batch_is_what_came_while_the_last_one_ran(start: Start) -> None:
    encoder = Recorder()
    batcher = start(encoder)
    first = occupy(encoder, batcher, 1)
    others = [send(batcher, value) for value in range(2, 14)]
    encoder.free.set()

    assert numbers(first.results()) == [1]
    assert [numbers(one.results()) for one in others] == [[value] for value in range(2, 14)]
    assert encoder.sizes == [1, 8, 4]


def test_batches_of_one_request_grow_by_what_was_measured(start: Start) -> None:
    encoder = Recorder()
    batcher = start(encoder)
    long = occupy(encoder, batcher, *range(13))
    encoder.free.set()

    assert numbers(long.results()) == list(range(13))
    assert encoder.sizes == [1, 2, 4, 6]  # nothing is known of larger ones before


def test_a_long_request_takes_turns_with_short_ones(start: Start) -> None:
    encoder = Recorder()
    batcher = start(encoder, most=4)
    warmed(encoder, batcher)
    long = occupy(encoder, batcher, *range(100))
    short = [send(batcher, value) for value in (201, 202)]
    encoder.free.set()

    assert [numbers(one.results()) for one in short] == [[201], [202]]
    assert numbers(long.results()) == list(range(100))
    # The next batch after the one that ran; with a second one of the long request they would be done later.
    assert {201, 202} <= set(encoder.firsts[1])
    assert len(encoder.firsts[1]) == 3
    assert len(encoder.firsts[2]) == 4


def test_of_a_batch_that_fails_only_the_picture_at_fault_does(start: Start) -> None:
    encoder = Recorder()
    batcher = start(encoder)
    blocker = occupy(encoder, batcher, 0)
    waiters = [send(batcher, value) for value in (1, 2, BAD, 4, 5, 6, 7, 8)]
    encoder.free.set()

    assert numbers(blocker.results()) == [0]
    for value, waiter in zip((1, 2, BAD, 4, 5, 6, 7, 8), waiters, strict=True):
        (result,) = waiter.results()
        if value == BAD:
            assert isinstance(result, BundleError)
        else:
            assert numbers([result]) == [value]
    assert batcher.failure is None


def test_wrong_rows_are_an_error_and_not_somebody_elses_embedding(start: Start) -> None:
    batcher = start(lambda pixels: np.zeros((len(pixels) + 1, 3), np.float32))

    (result,) = send(batcher, 1).results()

    assert isinstance(result, EncoderFailedError)
    assert "2 rows for 1 pictures" in str(result)


def test_batches_become_as_small_as_their_time_asks_for_and_grow_again() -> None:
    size = BatchSize(64, 0.05)  # of which 32.5 ms are aimed at
    assert size.now == 1
    for expected in (2, 4, 8, 16, 32, 64, 64):
        size.note(size.now, 0.01)
        assert size.now == expected
    size.note(64, 0.64)  # 10 ms each
    assert size.now == 3
    size.note(1, 0.01)  # not full: says nothing of larger ones
    assert size.now == 3
    size.note(3, 0.01)
    assert size.now == 6
    for _ in range(5):
        size.note(size.now, size.now * 0.001)
    assert size.now == 32
    size.note(1, 0.2)  # one picture alone takes too long
    assert size.now == 1
    size.note(1, 0.2)
    assert size.now == 1


def test_of_many_requests_a_batch_may_have_one_picture_each_within_four_times_its_time() -> None:
    size = BatchSize(64, 0.05)  # of which 32.5 ms are aimed at
    assert size.for_requests(50) == 1  # nothing is known yet
    size.note(1, 0.01)
    assert [size.for_requests(count) for count in (1, 2, 10, 50)] == [2, 2, 10, 12]
    size.note(16, 0.16)
    assert [size.for_requests(count) for count in (1, 50)] == [3, 12]
    size.note(1, 0.2)  # one picture alone takes too long
    assert [size.for_requests(count) for count in (1, 3, 50)] == [1, 3, 4]
    size.note(1, 0.00001)
    assert size.for_requests(500) == 64


def test_a_slow_encoder_gets_small_batches(start: Start) -> None:
    encoder = Recorder(seconds_a_picture=0.02)
    batcher = start(encoder, most=16, target_s=0.08)

    assert numbers(send(batcher, *range(48)).results()) == list(range(48))

    assert max(encoder.sizes[2:]) <= 4  # of which each picture takes at least 20 ms


def test_who_has_left_is_not_encoded(start: Start) -> None:
    encoder = Recorder()
    batcher = start(encoder)
    running = occupy(encoder, batcher, 1)
    left, unwanted, stays = send(batcher, 2, 3), send(batcher, 4), send(batcher, 5)
    assert batcher.drop(left.job) == [0, 1]
    unwanted.job.wanted = False
    encoder.free.set()

    assert numbers(stays.results()) == [5]
    assert numbers(running.results()) == [1]
    assert isinstance(unwanted.results()[0], EncoderFailedError)
    assert encoder.firsts == [[1], [5]]


def test_a_thread_that_dies_leaves_nobody_waiting_and_another_goes_on(start: Start) -> None:
    encoder = Recorder()

    def encode(pixels: Pixels) -> npt.NDArray[np.float32]:
        found = encoder(pixels)
        if (pixels == 66).any():
            raise SystemExit
        return found

    batcher = start(encode)
    dying = occupy(encoder, batcher, 66)
    waiting = send(batcher, 1, 2)
    encoder.free.set()

    for result in dying.results() + waiting.results():
        assert isinstance(result, EncoderFailedError)
        assert "thread ended: SystemExit. Send the pictures again." in str(result)
    assert numbers(send(batcher, 3).results()) == [3]
    assert batcher.failure is None


def test_an_encoder_that_hangs_is_replaced_and_what_it_says_later_is_not_heard(start: Start) -> None:
    hanging, fresh = Recorder(), Recorder()
    batcher = start(hanging, renew=lambda: fresh, timeout_s=1.5)
    hanging.free.clear()
    stuck = send(batcher, 1)
    assert hanging.entered.acquire(timeout=PATIENCE_S)
    behind = send(batcher, 2)

    for result in stuck.results() + behind.results():
        assert isinstance(result, EncoderFailedError)
        assert "did not answer within 1.5 seconds" in str(result)
    assert numbers(send(batcher, 3).results()) == [3]
    hanging.free.set()
    assert numbers(send(batcher, 4).results()) == [4]
    assert (hanging.firsts, fresh.firsts) == ([[1]], [[3], [4]])
    assert stuck.settled == 1


def test_one_that_hangs_and_cannot_be_loaded_again_says_so_at_once(start: Start) -> None:
    def renew() -> Encode:
        raise BundleError("The weights are not those of the manifest.")

    hanging = Recorder()
    batcher = start(hanging, renew=renew, timeout_s=0.3)
    hanging.free.clear()
    stuck = send(batcher, 1)

    assert isinstance(stuck.results()[0], EncoderFailedError)
    deadline = time.monotonic() + PATIENCE_S
    while batcher.failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert batcher.failure == (
        "The encoder hangs and could not be loaded again: The weights are not those of the manifest."
    )
    (refused,) = send(batcher, 2).results()
    assert str(refused) == batcher.failure
    hanging.free.set()


def test_one_that_hangs_again_and_again_is_given_up(start: Start) -> None:
    hanging = [Recorder() for _ in range(5)]
    for one in hanging:
        one.free.clear()
    rest = iter(hanging[1:])
    batcher = start(hanging[0], renew=lambda: next(rest), timeout_s=0.2)

    while batcher.failure is None:
        assert isinstance(send(batcher, 1).results()[0], EncoderFailedError)

    assert "has hung 4 times; restart the service" in batcher.failure
    for one in hanging:
        one.free.set()


def test_closing_answers_everybody(start: Start) -> None:
    encoder = Recorder()
    batcher = start(encoder)
    running = occupy(encoder, batcher, 1)
    waiting = send(batcher, 2)
    closing = threading.Thread(target=batcher.close)
    closing.start()

    assert isinstance(waiting.results()[0], EncoderFailedError)
    encoder.free.set()
    closing.join(PATIENCE_S)
    assert numbers(running.results()) == [1]
    assert isinstance(send(batcher, 3).results()[0], EncoderFailedError)


def test_what_was_being_loaded_anew_as_it_closed_is_let_go_of(start: Start) -> None:
    loading, may_end = threading.Event(), threading.Event()
    loaded: list[weakref.ref[Recorder]] = []

    def renew() -> Encode:
        fresh = Recorder()
        loaded.append(weakref.ref(fresh))
        loading.set()
        assert may_end.wait(PATIENCE_S)
        return fresh

    hanging = Recorder()
    batcher = start(hanging, renew=renew, timeout_s=0.3)
    occupy(hanging, batcher, 1)
    assert loading.wait(PATIENCE_S)
    waiting = send(batcher, 2)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    assert isinstance(waiting.results()[0], EncoderFailedError)  # so that it is closed by now
    may_end.set()
    closing.join(PATIENCE_S)
    hanging.free.set()
    until = time.monotonic() + PATIENCE_S  # closing does not wait for long for the thread that loads
    while loaded[0]() is not None:
        assert time.monotonic() < until


def test_many_threads_and_jobs_all_get_their_own(start: Start) -> None:
    batcher = start(Recorder(), most=16)
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, BAD, rng.integers(1, 20)).tolist() for _ in range(200)]
    found: dict[int, list[float]] = {}

    def ask(first: int) -> None:
        for index in range(first, len(lists), 8):
            found[index] = numbers(send(batcher, *lists[index]).results())

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [found[index] for index in range(len(lists))] == lists


def test_who_decodes_hears_of_room_that_was_made_without_a_batch(start: Start) -> None:
    encoder = Recorder()
    source = Elsewhere()
    heard = source.heard
    batcher = start(encoder, timeout_s=0.5, source=source)
    occupy(encoder, batcher, 1)
    left = send(batcher, 2, 3)
    heard.clear()
    batcher.drop(left.job)
    assert len(heard) == 1
    send(batcher, 4).results()  # which fails, as the encoder hangs
    deadline = time.monotonic() + PATIENCE_S
    while heard.count("room") < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard.count("room") == 2
    encoder.free.set()
