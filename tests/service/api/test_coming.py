"""What is there already is given at once, and what is not is waited for as by `await`."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from service.api.coming import Coming


async def _now(value: int) -> int:
    return value


async def _later(value: int) -> int:
    for _ in range(3):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return value


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_what_is_there_needs_no_waiting() -> None:
    coming = Coming(_now(3))
    assert coming.there
    assert coming.result == 3


def test_what_is_not_is_waited_for() -> None:
    async def work() -> None:
        coming = Coming(_later(3))
        assert not coming.there
        assert await coming == 3

    run(work())


def test_a_timeout_reaches_it() -> None:
    ended: list[str] = []

    async def forever() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("yes")
        return 0

    async def work() -> None:
        coming = Coming(forever())
        assert not coming.there
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await coming
        assert ended == ["yes"]

    run(work())


def test_it_may_go_on_after_an_error_that_it_expects() -> None:
    async def patient() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await _later(5)
        return 0

    async def work() -> None:
        coming = Coming(patient())

        async def wait() -> int:
            return await coming

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        assert await task == 5

    run(work())


@pytest.mark.parametrize("at_once", [True, False])
def test_errors_are_raised(at_once: bool) -> None:
    async def failing() -> int:
        if not at_once:
            await asyncio.sleep(0)
        raise KeyError("x")

    async def work() -> None:
        with pytest.raises(KeyError):
            await Coming(failing())

    run(work())
