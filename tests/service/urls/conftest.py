"""A started application that fetches from a picture server on loopback."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.urls.networks import Address
from tests.service.urls.picture_server import PictureServer, answer, picture_server

Fetching = Callable[..., AbstractContextManager[TestClient]]


class Zone:
    """What names resolve to: for each the addresses of the first look-up, of the next, and so on.

    Attributes:
        addresses: by name, a list for each look-up; the last one stays.
        asked: the names that were looked up.
        wait: is called before the answer.
    """

    def __init__(self) -> None:
        self.wait: Callable[[], object] = lambda: None
        self.addresses: dict[str, list[list[str]]] = {"pictures.test": [["127.0.0.1"]]}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[Address]:
        """Look a name up."""
        self.asked.append(host)
        self.wait()
        answers = self.addresses.get(host)
        if answers is None:
            raise OSError("Name or service not known")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ip_address(address) for address in found]


@pytest.fixture
def zone() -> Zone:
    return Zone()


@pytest.fixture
def store(picture: Callable[..., bytes]) -> Iterator[PictureServer]:
    """A picture server with a car, and another view of another one."""
    with picture_server() as server:
        server.answers["/car.png"] = answer(picture(0), headers="Content-Type: text/plain\r\n")
        server.answers["/other.png"] = answer(picture(1))
        yield server


@pytest.fixture
def fetching(bundle: Path, tmp_path: Path, zone: Zone) -> Fetching:
    """Start an application that fetches from a picture server under these names, with settings of its own."""

    @contextmanager
    def start(server: PictureServer, hosts: str = "pictures.test", **settings: Any) -> Iterator[TestClient]:
        listed = ",".join(f"{host.strip()}:{server.port}" for host in hosts.split(","))
        given = {"url_hosts": listed, "url_networks": "127.0.0.1/32", "url_timeout_s": 20, **settings}
        made = Settings(data_dir=tmp_path / "data", encoder=str(bundle), threads=1, **given)
        with TestClient(create_app(made, resolve=zone)) as client:
            yield client

    return start


@pytest.fixture
def client(fetching: Fetching, store: PictureServer) -> Iterator[TestClient]:
    """One that fetches from the store."""
    with fetching(store) as client:
        yield client


@pytest.fixture
def base(store: PictureServer) -> str:
    return f"http://pictures.test:{store.port}"
