"""The benchmark of hosting: what it counts as right, how it loads, and what it writes."""

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import orjson
import pytest

from benchmarks.hosting import corrupt, disconnect
from benchmarks.hosting.checking import Oracle, Outcome
from benchmarks.hosting.client import Answer, Connections, request
from benchmarks.hosting.figures import Criterion, Scenario, counts, percentile_ms, slope_mib_a_minute
from benchmarks.hosting.loads import Mix, closed_loop, open_loop
from benchmarks.hosting.overload import recovered_after
from benchmarks.hosting.pictures import Picture, corrupt_pictures, good_pictures
from benchmarks.hosting.plotting import draw
from benchmarks.hosting.report import render
from benchmarks.hosting.site import Site
from tests.system.serving import running_server

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GOOD = Picture("a", b"picture")
BAD = Picture("b", b"text", status=422, problem="/problems/damaged-image")
EMBEDDING = np.array([0.6, 0.8], np.float32)
ORACLE = Oracle({"a": EMBEDDING})


def embedded(vector: np.ndarray) -> Answer:
    text = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return Answer(200, b"", orjson.dumps({"data": [{"embedding": text}]}))


def problem(status: int, slug: str, pointer: str = "/input/0") -> Answer:
    body = {"type": f"/problems/{slug}", "errors": [{"pointer": pointer}]}
    return Answer(status, b"x\r\ncontent-type: application/problem+json", orjson.dumps(body))


@pytest.mark.parametrize(
    ("picture", "answer", "right"),
    [
        (GOOD, embedded(EMBEDDING), True),
        (GOOD, embedded(EMBEDDING + np.float32(9e-6)), True),
        (GOOD, embedded(EMBEDDING + np.float32(2e-5)), False),
        (GOOD, embedded(np.array([0.6, np.nan])), False),
        (GOOD, embedded(np.array([0.6])), False),
        (GOOD, problem(422, "damaged-image"), False),
        (GOOD, problem(429, "overloaded"), True),
        (GOOD, Answer(429, b"x\r\ncontent-type: text/plain"), False),
        (GOOD, Answer(0), False),
        (BAD, problem(422, "damaged-image"), True),
        (BAD, problem(422, "unsupported-image"), False),
        (BAD, problem(422, "damaged-image", "/input/1"), False),
        (BAD, embedded(EMBEDDING), False),
    ],
)
def test_an_answer_is_right_or_not(picture: Picture, answer: Answer, right: bool) -> None:
    assert ORACLE.right(picture, answer) is right


def serve(handle: Handler, scenario: Callable[[Connections], Awaitable[None]], most: int = 10) -> None:
    """Run a scenario against a server of one handler."""

    ended: list[asyncio.Event] = []

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(end := asyncio.Event())
        with contextlib.suppress(ConnectionError):
            await handle(reader, writer)
        writer.transport.abort()
        await asyncio.sleep(0)
        end.set()

    async def run() -> None:
        server = await asyncio.start_server(handled, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            async with Connections(f"http://127.0.0.1:{port}", most) as connections:
                await scenario(connections)
            for one in ended:
                await one.wait()

    asyncio.run(run())


async def right_for_a(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every picture with the embedding of `GOOD`, in two pieces, over one connection."""
    body = embedded(EMBEDDING).body
    while head := await reader.readline():
        length = 0
        while (line := await reader.readline()).strip():
            length = int(line.split()[1]) if line.startswith(b"content-length") else length
        await reader.readexactly(length)
        assert head.startswith(b"POST /v1/embeddings")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:5])
        await writer.drain()
        await asyncio.sleep(0.001)
        writer.write(body[5:])


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close every connection at once."""


def test_clients_send_one_request_after_the_other() -> None:
    async def scenario(connections: Connections) -> None:
        load = await closed_loop(connections, Mix([GOOD]), ORACLE, clients=3, until=lambda at: at > 0.2)
        assert len(load.outcomes) > 10
        assert all(one.right and one.status == 200 for one in load.outcomes)

    serve(right_for_a, scenario)


def test_an_open_loop_sends_at_its_rate_and_counts_what_it_could_not_send() -> None:
    async def scenario(connections: Connections) -> None:
        load = await open_loop(connections, Mix([GOOD]), ORACLE, rate=100, until=lambda at: at > 0.3)
        assert len(load.outcomes) + load.unsent == pytest.approx(30, abs=5)
        assert all(one.right for one in load.outcomes)

    serve(right_for_a, scenario)


def test_without_connections_nothing_is_sent_and_that_is_told() -> None:
    async def scenario(connections: Connections) -> None:
        load = await open_loop(connections, Mix([GOOD]), ORACLE, rate=100, until=lambda at: at > 0.1)
        assert not load.outcomes
        assert load.unsent > 5

    serve(right_for_a, scenario, most=0)


def test_a_lost_connection_is_no_answer() -> None:
    async def scenario(connections: Connections) -> None:
        assert (await connections.ask(request("GET", "/"))).status == 0

    serve(closing, scenario)


def test_one_in_every_so_many_is_corrupt() -> None:
    mix = Mix([GOOD], [BAD], every=4)
    assert [mix.next()[0].name for _ in range(8)] == ["a", "a", "a", "b"] * 2


def test_figures() -> None:
    outcomes = [Outcome(0, took, 200, True, True) for took in (0.1, 0.2, 0.3)] + [
        Outcome(0, 9, 429, True, True)
    ]
    assert percentile_ms(outcomes, 50) == pytest.approx(200)
    assert counts(outcomes) == "3 x 200, 1 x 429"
    assert slope_mib_a_minute([(60.0 * minute, (100 + 3 * minute) * 2**20) for minute in range(5)]) == (
        pytest.approx(3)
    )


def test_latency_is_normal_again_after_the_last_slow_answers() -> None:
    slow = [Outcome(at, 2.0, 200, True, True) for at in (0.0, 0.1, 0.2, 0.3)]
    quick = [Outcome(at, 0.1, 200, True, True) for at in (0.4, 0.5, 0.6, 0.7)]
    straggler = [Outcome(0.45, 2.0, 200, True, True)]
    assert recovered_after(slow + quick + straggler, 0.2) == pytest.approx(0.4)
    assert recovered_after(quick, 0.2) == pytest.approx(0.4)
    assert recovered_after(slow, 0.2) == float("inf")


def test_the_section_says_what_was_met_and_what_was_not(tmp_path: Path) -> None:
    criteria = [
        Criterion("memory bounded", "3 MiB more", True),
        Criterion("the rest get 429", "7 x 504", False),
    ]
    curves = {"200": [(0.0, 0.1), (1.0, 0.2)], "rss": [(0.0, 1e8), (60.0, 2e8)]}
    scenario = Scenario("Overload", "What was done.", criteria, [("memory", "5 MiB")], curves)
    about = {"date": "2026-01-01", "command": "c", "machine": "m", "versions": "v", "image": "images/h.svg"}
    text = render([scenario], about)
    assert "- Memory bounded: 3 MiB more: met." in text
    assert "- The rest get 429: 7 x 504: **not met**." in text
    assert "| memory | 5 MiB |" in text
    assert "(images/h.svg)" in text
    draw([scenario], tmp_path / "h.svg")
    assert "Mixed load with swaps" in (tmp_path / "h.svg").read_text()


@pytest.mark.system
def test_a_real_server_is_stressed_and_every_answer_checked(tmp_path: Path) -> None:
    async def stress(url_of: Path) -> tuple[Scenario, Scenario]:
        with running_server(url_of) as server:
            async with Site.of(server) as site:
                for picture in (*good_pictures(2), *corrupt_pictures()):
                    answer = await site.connections.ask(picture.request())
                    assert site.oracle.right(picture, answer), picture.name
                return await corrupt.run(site, 0.005), await disconnect.run(site, 0.005)

    for scenario in asyncio.run(stress(tmp_path / "data")):
        for one in scenario.criteria:
            assert one.met or "within 5 %" in one.aim, one  # which is a matter of a quiet machine
