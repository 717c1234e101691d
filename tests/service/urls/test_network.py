"""What a client can reach through the server: the addresses that were checked, and nothing else."""

import logging
import time
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from tests.service.api.wires import assert_problem, data_uri
from tests.service.urls.conftest import Fetching, Zone
from tests.service.urls.picture_server import PictureServer, answer, picture_server, redirect

SENTENCE = "No picture could be fetched"


def embed(client: TestClient, url: str) -> int:
    return client.post("/v1/embeddings", json={"input": url}).status_code


def refusal(client: TestClient, url: str) -> str:
    """Return the sentence that a URL is refused with."""
    problem = assert_problem(client.post("/v1/embeddings", json={"input": url}), 422, "url-not-fetched")
    return str(problem["errors"][0]["detail"])


def test_a_name_is_looked_up_once_and_its_checked_address_used(
    fetching: Fetching, store: PictureServer, zone: Zone
) -> None:
    zone.addresses["pictures.test"] = [["127.0.0.1"], ["127.0.0.2"]]  # as a rebinding name answers
    with picture_server(address="127.0.0.2") as inside, fetching(store) as client:
        inside.answers["/car.png"] = answer(b"secret")
        assert embed(client, f"http://pictures.test:{store.port}/car.png") == 200
        assert zone.asked == ["pictures.test"]
        assert SENTENCE in refusal(client, f"http://pictures.test:{store.port}/car.png")
        assert inside.opened == 0
    assert store.opened == 1


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1", "127.0.0.2"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "::1"]]
)
def test_all_addresses_of_a_name_must_be_allowed(
    client: TestClient, base: str, store: PictureServer, zone: Zone, addresses: list[str]
) -> None:
    zone.addresses["pictures.test"] = [addresses]
    assert SENTENCE in refusal(client, f"{base}/car.png")
    assert store.opened == 0


def test_the_next_address_is_tried_where_one_does_not_answer(
    fetching: Fetching, store: PictureServer, zone: Zone
) -> None:
    zone.addresses["pictures.test"] = [["127.0.0.9", "127.0.0.1"]]
    with fetching(store, url_networks="127.0.0.0/8") as client:
        assert embed(client, f"http://pictures.test:{store.port}/car.png") == 200


def test_an_address_that_is_not_public_is_not_connected_to_unless_its_host_is_named(
    fetching: Fetching, store: PictureServer
) -> None:
    with fetching(store, hosts="*") as client:
        assert SENTENCE in refusal(client, f"http://pictures.test:{store.port}/car.png")
        assert SENTENCE in refusal(client, f"http://127.0.0.1:{store.port}/car.png")
        assert SENTENCE in refusal(client, f"http://[::ffff:127.0.0.1]:{store.port}/car.png")
        assert SENTENCE in refusal(client, f"http://[::1]:{store.port}/car.png")
        for number in ("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1"):
            assert "such as 192.0.2.1" in refusal(client, f"http://{number}:{store.port}/car.png")
    with fetching(store, url_networks="") as client:
        assert SENTENCE in refusal(client, f"http://pictures.test:{store.port}/car.png")
    assert store.opened == 0
    with fetching(store, hosts="127.0.0.1") as client:
        assert embed(client, f"http://127.0.0.1:{store.port}/car.png") == 200


def test_a_host_is_the_same_in_every_spelling(fetching: Fetching, store: PictureServer, zone: Zone) -> None:
    zone.addresses["xn--bcher-kva.test"] = [["127.0.0.1"]]
    with fetching(store, hosts="Pictures.Test,bücher.test") as client:
        for host in ("PICTURES.test", "pictures.test.", "BÜCHER.test", "xn--bcher-kva.test"):
            assert embed(client, f"HTTP://{host}:{store.port}/car.png") == 200
    assert zone.asked == ["pictures.test"] * 2 + ["xn--bcher-kva.test"] * 2


def test_a_host_or_port_that_is_not_listed_is_neither_looked_up_nor_asked(
    client: TestClient, zone: Zone, store: PictureServer
) -> None:
    for place in (
        "other.test",
        "pictures.test",
        "pictures.test:22",
        f"x.pictures.test:{store.port}",
        "localhost",
    ):
        assert "not fetched from" in refusal(client, f"http://{place}/car.png")
    assert zone.asked == []


def test_one_sentence_for_all_that_would_map_the_network(
    fetching: Fetching, store: PictureServer, zone: Zone, caplog: pytest.LogCaptureFixture
) -> None:
    zone.addresses |= {"inside.test": [["10.0.0.1"]], "metadata.test": [["169.254.169.254"]]}
    store.answers |= {"/silent": b"", "/slow": slow, "/garbage": b"SSH-2.0-OpenSSH_9.2\r\n"}
    names = ("inside", "metadata", "unknown")
    urls = [f"http://{name}.test:{store.port}/?token=hidden" for name in names]
    urls += [
        f"http://pictures.test:{store.port}/{path}?token=hidden" for path in ("silent", "slow", "garbage")
    ]
    urls.append(f"https://pictures.test:{store.port}/car.png")  # no TLS there
    with caplog.at_level(logging.INFO, "lookalike"), fetching(store, "*.test", url_timeout_s=1) as client:
        sentences = {refusal(client, url) for url in urls}
    assert len(sentences) == 1
    for words in ("10.0.0.1 is not allowed", "169.254.169.254 is not allowed", "Name or service not known"):
        assert words in caplog.text
    assert "hidden" not in caplog.text


def slow() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    time.sleep(2)


def test_a_closed_port_sounds_like_a_blocked_address(
    fetching: Fetching, store: PictureServer, zone: Zone
) -> None:
    zone.addresses["inside.test"] = [["10.0.0.1"]]
    with fetching(store, hosts="*.test") as client:
        store.shutdown()
        store.server_close()
        assert refusal(client, f"http://pictures.test:{store.port}/x") == refusal(
            client, f"http://inside.test:{store.port}/x"
        )


def test_a_redirect_is_looked_at_like_a_url(fetching: Fetching, store: PictureServer, zone: Zone) -> None:
    zone.addresses |= {"second.test": [["127.0.0.1"]], "inside.test": [["127.0.0.2"]]}
    with (
        picture_server(address="127.0.0.2") as inside,
        fetching(store, hosts="pictures.test,second.test,inside.test") as client,
    ):
        base = f"http://pictures.test:{store.port}"
        for status in (
            "301 Moved Permanently",
            "302 Found",
            "303 See Other",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        ):
            store.answers["/to"] = redirect(f"http://second.test:{store.port}/car.png", status)
            assert embed(client, f"{base}/to") == 200
        store.answers["/to"] = redirect("/car.png")
        assert embed(client, f"{base}/to") == 200
        for location, words in {
            f"http://inside.test:{inside.port}/": "a host that pictures are not fetched from",  # its port
            f"http://inside.test:{store.port}/": SENTENCE,  # its address
            f"http://127.0.0.2:{inside.port}/": "a host that pictures are not fetched from",
            "http://169.254.169.254/latest/meta-data/": "a host that pictures are not fetched from",
            "http://2130706433/": "no URL that can be fetched",
            "file:///etc/passwd": "no URL that can be fetched",
            f"ftp://pictures.test:{store.port}/": "no URL that can be fetched",
            f"http://u:p@second.test:{store.port}/": "no URL that can be fetched",
            "http://[::1": "no URL that can be fetched",
        }.items():
            store.answers["/to"] = redirect(location)
            assert words in refusal(client, f"{base}/to"), location
        assert inside.opened == 0


def test_redirects_are_followed_a_few_times(client: TestClient, base: str, store: PictureServer) -> None:
    for step in range(4):
        store.answers[f"/{step}"] = redirect(f"/{step + 1}" if step < 3 else "/car.png")
    store.answers["/loop"] = redirect("loop")
    assert embed(client, f"{base}/1") == 200
    assert "more than 3 times" in refusal(client, f"{base}/0")
    assert "more than 3 times" in refusal(client, f"{base}/loop")
    store.answers["/nowhere"] = answer(status="302 Found")
    assert "answered 302" in refusal(client, f"{base}/nowhere")


def test_nothing_is_sent_but_the_question(
    client: TestClient,
    base: str,
    store: PictureServer,
    picture: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.answers["/cookie"] = answer(picture(), headers="Set-Cookie: a=b\r\n")
    store.answers["/to"] = redirect("/cookie")
    with picture_server() as proxy:
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        headers = {"Authorization": "Bearer mine", "Cookie": "session=mine", "Referer": "http://mine"}
        for path in ("/to?signature=1", "/cookie"):
            answered = client.post("/v1/embeddings", json={"input": base + path}, headers=headers)
            assert answered.status_code == 200
        assert proxy.opened == 0
    assert store.heads[0].startswith("GET /to?signature=1 HTTP/1.1\r\n")
    for head in store.heads:
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
        assert names == {"host", "accept", "accept-encoding", "user-agent", "connection"}
        assert f"Host: pictures.test:{store.port}\r\n" in head
        assert "Accept-Encoding: identity\r\n" in head


def test_pictures_that_are_sent_need_no_network(
    client: TestClient, picture: Callable[..., bytes], zone: Zone
) -> None:
    assert embed(client, data_uri(picture())) == 200
    assert zone.asked == []
