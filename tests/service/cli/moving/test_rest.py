"""A server that is busy, leaves, or is none."""

import threading
from collections.abc import Iterator
from contextlib import closing

import click
import pytest

from service.cli.moving.rest import Server, StoppedError
from tests.service.cli.moving.listening import JsonHandler, listening

Statuses = list[int]


@pytest.fixture
def statuses() -> Statuses:
    """What the server answers in turn; 0 closes the connection, and the last is for all that follow."""
    return []


@pytest.fixture
def url(statuses: Statuses) -> Iterator[str]:
    class Handler(JsonHandler):
        def post(self) -> None:
            self.body()
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            if status == 0:
                self.close_connection = True
                return
            self.answer(status, {"detail": "So it is."}, Retry_After="0")

    with listening(Handler) as at:
        yield at


@pytest.mark.parametrize("busy", [429, 503, 0])
def test_a_busy_server_and_one_that_leaves_are_asked_again(url: str, statuses: Statuses, busy: int) -> None:
    statuses += [200, busy, busy, 200]
    with closing(Server(url, patience_s=60, connections=1)) as server:
        assert server.ask("POST", "/a", b"x").status == 200
        assert server.ask("POST", "/a", b"x").status == 200
    assert statuses == [200]


def test_other_refusals_are_answers(url: str, statuses: Statuses) -> None:
    statuses += [422, 200]
    with closing(Server(url, patience_s=60, connections=1)) as server:
        answer = server.ask("POST", "/a", b"x")
    assert (answer.status, answer.sentence()) == (422, "So it is.")


@pytest.mark.parametrize(
    ("status", "words"), [(503, r"is busy: So it is\.$"), (0, r"does not answer \(.*\)\.$")]
)
def test_patience_ends_with_what_the_server_says(
    url: str, statuses: Statuses, status: int, words: str
) -> None:
    statuses += [200, status]
    with closing(Server(url, patience_s=0, connections=1)) as server:
        assert server.ask("POST", "/a", b"x").status == 200
        with pytest.raises(click.ClickException, match=words):
            server.ask("POST", "/a", b"x")


def test_nobody_waits_once_it_is_stopped(url: str, statuses: Statuses) -> None:
    statuses += [503]
    with closing(Server(url, patience_s=600, connections=1)) as server:
        threading.Timer(0.1, server.stop).start()
        with pytest.raises(StoppedError):
            server.ask("POST", "/a", b"x")


@pytest.mark.parametrize("wrong", ["127.0.0.1:8000", "ftp://a", "http://"])
def test_what_is_no_url_is_refused(wrong: str) -> None:
    with pytest.raises(click.BadParameter):
        Server(wrong, patience_s=0, connections=1)
