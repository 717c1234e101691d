"""Whatever a server sends, and however many URLs come: time, bytes and connections stay within bounds."""

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from service.api.state import Services
from service.app import create_app
from service.settings import Settings
from tests.service.api.test_attended import Client, until
from tests.service.api.wires import assert_problem, data_uri
from tests.service.urls.conftest import Fetching, Zone
from tests.service.urls.picture_server import PATIENCE_S, PictureServer, answer

Picture = Callable[..., bytes]

LIMIT = 50_000
TIMEOUT_S = 1


@pytest.fixture
def strict(fetching: Fetching, store: PictureServer) -> Iterator[TestClient]:
    """A client of a server that waits a second and takes small files."""
    with fetching(store, url_timeout_s=TIMEOUT_S, max_image_bytes=LIMIT) as client:
        yield client


def trickle(start: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    """Send a start, and then a piece every now and then, for long."""

    def pieces() -> Iterator[bytes]:
        yield start
        for _ in range(200):
            time.sleep(0.1)
            yield piece

    return pieces


DRIPS = {
    "header": trickle(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n"),
    "information": trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": trickle(answer(headers="Content-Length: 1000\r\n", length=False), b"x"),
    "chunks": trickle(answer(headers="Transfer-Encoding: chunked\r\n", length=False), b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_a_picture_that_drips_ends_with_its_time(
    strict: TestClient, base: str, store: PictureServer, kind: str
) -> None:
    store.answers["/drip"] = DRIPS[kind]
    started = time.monotonic()
    answered = strict.post("/v1/embeddings", json={"input": f"{base}/drip"})
    assert_problem(answered, 422, "url-not-fetched", "within 1 seconds")
    assert time.monotonic() - started < TIMEOUT_S + 5
    store.wait_until_left()


def endless(start: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield start
        while True:
            yield piece

    return pieces


CHUNK = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
TOO_LARGE: dict[str, bytes | Callable[[], Iterator[bytes]]] = {
    "declared": trickle(answer(headers="Content-Length: 50001\r\n", length=False), b"x"),
    "endless": endless(answer(length=False), b"x" * 65_536),
    "chunked": endless(answer(headers="Transfer-Encoding: chunked\r\n", length=False), CHUNK),
    "by one": answer(b"x" * (LIMIT + 1), length=False),
}


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_file_that_is_too_large_is_not_read_to_its_end(
    strict: TestClient, base: str, store: PictureServer, kind: str
) -> None:
    store.answers["/large"] = TOO_LARGE[kind]
    answered = strict.post("/v1/embeddings", json={"input": f"{base}/large"})
    assert_problem(answered, 413, "image-too-large", "50,000")
    store.wait_until_left()


def test_a_file_of_the_largest_size_is_read(strict: TestClient, base: str, store: PictureServer) -> None:
    store.answers["/full"] = answer(b"x" * LIMIT)
    answered = strict.post("/v1/embeddings", json={"input": f"{base}/full"})
    assert_problem(answered, 422, "unsupported-image", "is text")


def test_what_is_compressed_is_not_unpacked(
    strict: TestClient, base: str, store: PictureServer, picture: Picture
) -> None:
    packed = gzip.compress(picture())
    for name in ("gzip", "br", "x-gzip, identity"):
        store.answers["/packed"] = answer(packed, headers=f"Content-Encoding: {name}\r\n")
        answered = strict.post("/v1/embeddings", json={"input": f"{base}/packed"})
        assert_problem(answered, 422, "url-not-fetched", "compressed")
    store.answers["/packed"] = answer(gzip.compress(bytes(2**24)))  # and says nothing of it
    assert strict.post("/v1/embeddings", json={"input": f"{base}/packed"}).status_code == 422
    store.answers["/plain"] = answer(picture(), headers="Content-Encoding: identity\r\n")
    assert strict.post("/v1/embeddings", json={"input": f"{base}/plain"}).status_code == 200


MALFORMED = {
    "length": answer(headers=f"Content-Length: {'9' * 5000}\r\n", length=False),
    "lengths": answer(b"abc", headers="Content-Length: 1\r\n"),
    "head": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 2**20 + b"\r\n\r\n",
    "chunk": answer(headers="Transfer-Encoding: chunked\r\n", length=False) + b"-1\r\n",
    "short": answer(headers="Content-Length: 100\r\n", length=False) + b"x",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "zeros": bytes(100_000),
    "location": answer(status="302 Found", headers="Location: http://\xff\r\n"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_hardly_http_is_a_refusal(
    strict: TestClient, base: str, store: PictureServer, kind: str
) -> None:
    store.answers["/odd"] = MALFORMED[kind]
    assert_problem(strict.post("/v1/embeddings", json={"input": f"{base}/odd"}), 422, "url-not-fetched")


def test_chunks_of_a_byte_are_put_together(
    client: TestClient, base: str, store: PictureServer, picture: Picture
) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in picture()) + b"0\r\n\r\n"
    store.answers["/bytes"] = answer(headers="Transfer-Encoding: chunked\r\n", length=False) + chunks
    by_url, sent = (
        client.post("/v1/embeddings", json={"input": one}).json()
        for one in (f"{base}/bytes", data_uri(picture()))
    )
    assert by_url == sent


def test_no_more_than_so_many_are_fetched_at_once(
    fetching: Fetching, store: PictureServer, picture: Picture
) -> None:
    # Counted between a request and its answer, while the client surely holds both: it may open the next
    # connection before the server has seen the end of the last.
    begun: list[str] = []
    ended: list[str] = []
    at_once: list[int] = []

    def later() -> Iterator[bytes]:
        begun.append("/later")
        at_once.append(len(begun) - len(ended))
        time.sleep(0.05)
        ended.append("/later")
        yield answer(picture())

    store.answers["/later"] = later
    url = f"http://pictures.test:{store.port}/later"
    with fetching(store, url_at_once=3) as client:
        assert client.post("/v1/embeddings", json={"input": [url] * 12}).status_code == 200
        text = client.get("/metrics").text
    assert max(at_once) <= 3
    assert store.opened == 12
    assert 'lookalike_fetched_urls_total{outcome="fetched"} 12.0' in text
    assert "lookalike_fetch_seconds_count 12.0" in text
    assert "lookalike_waiting_urls 0.0" in text


def test_the_metrics_tell_no_more_than_the_sentences(
    client: TestClient, base: str, store: PictureServer
) -> None:
    store.answers |= {"/gone": answer(status="404 Not Found"), "/odd": b"x" * 100}
    inputs = [f"{base}/gone", f"{base}/odd", "http://other.test/"]
    client.post("/v1/embeddings", json={"input": inputs})
    text = client.get("/metrics").text
    assert 'lookalike_fetched_urls_total{outcome="unavailable"} 2.0' in text
    assert 'lookalike_fetched_urls_total{outcome="refused"} 1.0' in text


def test_more_urls_than_may_wait_are_refused(fetching: Fetching, store: PictureServer) -> None:
    url = f"http://pictures.test:{store.port}/car.png"
    with fetching(store, max_waiting_urls=4) as client:
        problem = client.post("/v1/embeddings", json={"input": [url] * 5})
        assert_problem(problem, 413, "too-large", "LOOKALIKE_MAX_WAITING_URLS")
        assert store.opened == 0
        assert client.post("/v1/embeddings", json={"input": [url] * 4}).status_code == 200


def test_more_bytes_than_may_wait_are_refused(fetching: Fetching, store: PictureServer) -> None:
    store.answers["/big"] = answer(b"x" * 30_000)
    url = f"http://pictures.test:{store.port}/big"
    with fetching(store, max_waiting_bytes=100_000) as client:
        for count, status in ((3, 422), (4, 413), (3, 422)):  # the last: what was refused holds nothing
            assert client.post("/v1/embeddings", json={"input": [url] * count}).status_code == status


def test_others_are_answered_while_urls_wait_and_too_many_are_told_to_come_back(
    fetching: Fetching, store: PictureServer, picture: Picture
) -> None:
    free = threading.Event()

    def held() -> Iterator[bytes]:
        assert free.wait(PATIENCE_S)
        yield answer(picture())

    store.answers["/held"] = held
    request = {"input": [f"http://pictures.test:{store.port}/held"] * 3}
    with fetching(store, max_waiting_urls=4) as client:
        statuses: list[int] = []
        waiting = threading.Thread(
            target=lambda: statuses.append(client.post("/v1/embeddings", json=request).status_code)
        )
        waiting.start()
        until_opened = time.monotonic() + PATIENCE_S
        while store.open < 3 and time.monotonic() < until_opened:
            time.sleep(0.01)
        assert client.post("/v1/embeddings", json={"input": data_uri(picture())}).status_code == 200
        answered = client.post("/v1/embeddings", json=request)
        assert_problem(answered, 429, "overloaded", "LOOKALIKE_MAX_WAITING_URLS")
        assert answered.headers["retry-after"]
        free.set()
        waiting.join()
        assert statuses == [200]


def test_a_deadline_ends_the_fetch(client: TestClient, base: str, store: PictureServer) -> None:
    store.answers["/drip"] = DRIPS["body"]
    answered = client.post(
        "/v1/embeddings", json={"input": [f"{base}/drip"] * 3}, headers={"X-Deadline-Ms": "300"}
    )
    assert_problem(answered, 504, "deadline-passed")
    store.wait_until_left()


def test_names_that_hang_block_nobody_and_keep_their_places(
    fetching: Fetching, store: PictureServer, zone: Zone, picture: Picture
) -> None:
    free = threading.Event()

    zone.wait = lambda: free.wait(PATIENCE_S)
    url = f"http://pictures.test:{store.port}/car.png"
    with fetching(store, url_at_once=2, url_timeout_s=0.3) as client:
        answered = client.post("/v1/embeddings", json={"input": [url, url, url, url, data_uri(picture())]})
        assert_problem(answered, 422, "url-not-fetched", "4 of 5")
        assert len(zone.asked) == 2  # the other look-ups found no thread
        free.set()


def test_a_client_that_leaves_takes_its_connections_along(
    settings: Settings, store: PictureServer, zone: Zone
) -> None:
    store.answers["/drip"] = DRIPS["body"]
    updates = {"url_hosts": f"pictures.test:{store.port}", "url_networks": "127.0.0.1/32"}
    app = create_app(settings.model_copy(update=updates), resolve=zone)
    content = b'{"input": ["http://pictures.test:%d/drip"]}' % store.port

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            before = asyncio.all_tasks()
            services: Services = app.state.services
            clients = [Client(body=content) for _ in range(5)]
            tasks = [asyncio.create_task(client.post(app, "/v1/embeddings")) for client in clients]
            await until(lambda: store.open == 5)
            assert services.urls.waiting == 5
            for client in clients:
                client.leave()
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*tasks)
            assert services.urls.waiting == 0
            await until(lambda: store.open == 0)
            assert asyncio.all_tasks() == before

    asyncio.run(scenario())
