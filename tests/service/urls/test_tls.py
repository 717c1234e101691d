"""https: the certificate must be the name's, of an authority that is trusted."""

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from models.errors import OptionError
from service.app import create_app
from service.settings import Settings
from tests.service.urls.conftest import Fetching, Zone
from tests.service.urls.picture_server import PictureServer, answer, picture_server, redirect


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key with a certificate for pictures.test, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    file = tmp_path_factory.mktemp("tls") / "pictures.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", "/CN=pictures.test", "-addext", "subjectAltName=DNS:pictures.test"),
            *("-keyout", str(file), "-out", f"{file}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@pytest.fixture
def store(certificate: Path) -> Iterator[PictureServer]:
    """A picture server that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with picture_server(context) as server:
        yield server


def embed(client: TestClient, url: str) -> int:
    return client.post("/v1/embeddings", json={"input": url}).status_code


def test_a_picture_comes_over_tls_from_the_checked_address(
    fetching: Fetching, store: PictureServer, certificate: Path, zone: Zone, picture: Callable[..., bytes]
) -> None:
    store.answers["/car.png"] = answer(picture())
    with fetching(store, url_ca_file=str(certificate)) as client:
        assert embed(client, f"https://PICTURES.test:{store.port}/car.png") == 200
    assert store.names == ["pictures.test"]
    assert zone.asked == ["pictures.test"]
    assert f"Host: pictures.test:{store.port}\r\n" in store.heads[0]


def test_a_certificate_for_another_name_is_refused(
    fetching: Fetching, store: PictureServer, certificate: Path, zone: Zone, picture: Callable[..., bytes]
) -> None:
    store.answers["/car.png"] = answer(picture())
    zone.addresses["other.test"] = [["127.0.0.1"]]
    with fetching(store, "other.test,127.0.0.1", url_ca_file=str(certificate)) as client:
        assert embed(client, f"https://other.test:{store.port}/car.png") == 422
        assert embed(client, f"https://127.0.0.1:{store.port}/car.png") == 422
    assert store.heads == []


def test_an_unknown_authority_is_refused(fetching: Fetching, store: PictureServer) -> None:
    with fetching(store) as client:
        assert embed(client, f"https://pictures.test:{store.port}/car.png") == 422
    assert store.heads == []


def test_https_is_not_left_by_a_redirect(fetching: Fetching, store: PictureServer, certificate: Path) -> None:
    store.answers["/to"] = redirect(f"http://pictures.test:{store.port}/car.png")
    with fetching(store, url_ca_file=str(certificate)) as client:
        answered = client.post("/v1/embeddings", json={"input": f"https://pictures.test:{store.port}/to"})
    assert "from https to http" in answered.json()["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("url_hosts", "http://a.example"), ("url_networks", "internal"), ("url_ca_file", "/nowhere/ca.pem")],
)
def test_a_bad_setting_ends_the_start_with_its_name(settings: Settings, name: str, value: str) -> None:
    app = create_app(settings.model_copy(update={name: value}))
    with pytest.raises(OptionError, match=f"LOOKALIKE_{name.upper()}"), TestClient(app):
        pass
