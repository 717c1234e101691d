"""Faults of the engine, over HTTP: who waits is told at once, health tells the truth, service resumes."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from starlette.testclient import TestClient

from models.engines import Device, Embeddings, Engine
from models.errors import BundleError
from models.images import Pixels
from models.runtime import Encoder, load_encoder
from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import assert_problem, data_uri

Fault = Literal["none", "raises", "raises for black", "hangs", "dies"]

CALLERS = 12
TIMEOUT_S = 1
AT_ONCE_S = 3.0  # with everything that a busy machine adds
PATIENCE_S = 20


class Faulty:
    """Loads encoders whose engines have a fault, which can be mended."""

    name = "faulty"
    device = "cpu"
    lanes = 1

    def __init__(self) -> None:
        self.fault: Fault = "none"
        self.fault_of_loading = False
        self.let_go = threading.Event()

    def __call__(self, folder: Path, *, device: Device, threads: int) -> Encoder:
        """Load one."""
        if self.fault_of_loading:
            raise BundleError("The weights are not those of the manifest.")
        encoder = load_encoder(folder, device=device, threads=threads)
        return Encoder(encoder.manifest, _FaultyEngine(self, encoder.engine))


class _FaultyEngine:
    name = "faulty"
    device = "cpu"
    lanes = 1

    def __init__(self, faults: Faulty, inner: Engine) -> None:
        self._faults, self._inner = faults, inner

    def run(self, pixels: Pixels, *, alone: bool = True) -> Embeddings:
        fault = self._faults.fault
        black = (pixels == 0).all(axis=(1, 2, 3)).any()
        if fault == "raises" or (fault == "raises for black" and black):
            raise BundleError("It gave NaN.")
        if fault == "hangs":
            assert self._faults.let_go.wait(PATIENCE_S)
        if fault == "dies":
            raise SystemExit
        return self._inner.run(pixels, alone=alone)


class Service:
    """A started application whose engine is faulty."""

    def __init__(self, faulty: Faulty, client: TestClient, pictures: Sequence[str]) -> None:
        self.faulty, self.client = faulty, client
        self._pictures = pictures
        self._expected = [self._embedding(self.ask(picture)) for picture in pictures]

    def ask(self, picture: str) -> Any:
        return self.client.post("/v1/embeddings", json={"input": picture})

    def ask_all(self) -> tuple[list[Any], float]:
        """Let callers wait at the same time; return their answers, and how long the last one waited."""
        started = time.monotonic()
        with ThreadPoolExecutor(CALLERS) as pool:
            answers = list(pool.map(self.ask, self._pictures))
        return answers, time.monotonic() - started

    def right(self, answers: Sequence[Any]) -> list[bool]:
        """Return of each answer whether it has its picture's embedding."""
        return [
            answer.status_code == 200 and bool(np.allclose(self._embedding(answer), expected, atol=1e-5))
            for answer, expected in zip(answers, self._expected, strict=True)
        ]

    def health(self) -> tuple[int, int]:
        """Return the statuses of liveness and readiness."""
        live, ready = (self.client.get(f"/health/{one}").status_code for one in ("live", "ready"))
        return live, ready

    def resumes(self) -> bool:
        """Return whether everybody is answered right, and both health routes say so."""
        answers, _ = self.ask_all()
        return all(self.right(answers)) and self.health() == (200, 200)

    def metric(self, line: str) -> bool:
        return f"\nlookalike_{line}\n" in self.client.get("/metrics").text

    @staticmethod
    def _embedding(answer: Any) -> list[float]:
        assert answer.status_code == 200, answer.text
        embedding: list[float] = answer.json()["data"][0]["embedding"]
        return embedding


@contextmanager
def serving(settings: Settings, pictures: Sequence[bytes]) -> Iterator[Service]:
    faulty = Faulty()
    with TestClient(create_app(settings, load=faulty), raise_server_exceptions=False) as client:
        yield Service(faulty, client, [data_uri(picture) for picture in pictures])
        faulty.let_go.set()


@pytest.fixture
def service(settings: Settings, picture: Callable[..., bytes]) -> Iterator[Service]:
    pictures = [picture(identity) for identity in range(CALLERS)]
    # All callers are in one batch, however slow the machine is: those of another would wait for it to hang.
    limits = {"encode_timeout_s": TIMEOUT_S, "batch_target_ms": 10_000}
    with serving(settings.model_copy(update=limits), pictures) as service:
        yield service


@pytest.fixture
def black() -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 48)).save(file, format="PNG")
    return file.getvalue()


def test_one_picture_that_the_engine_cannot_take_fails_alone(service: Service, black: bytes) -> None:
    service.faulty.fault = "raises for black"
    with ThreadPoolExecutor(1) as pool:
        at_fault = pool.submit(service.ask, data_uri(black))
        answers, _ = service.ask_all()
    assert all(service.right(answers))
    assert_problem(at_fault.result(), 500, "encoder-failed")
    assert service.health() == (200, 200)


def test_an_engine_that_raises_fails_its_callers_at_once_until_it_does_not(service: Service) -> None:
    service.faulty.fault = "raises"
    answers, took = service.ask_all()
    assert took < AT_ONCE_S
    for answer in answers:
        assert_problem(answer, 500, "encoder-failed")
    assert service.health() == (200, 503)  # it may recover by itself, and nothing is sent to it meanwhile
    service.faulty.fault = "none"
    assert service.resumes()


def test_an_engine_that_hangs_is_replaced_while_liveness_answers(service: Service) -> None:
    service.faulty.fault = "hangs"
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(service.ask_all)
        ready = pool.submit(service.client.get, "/health/ready")
        told = time.monotonic()
        assert service.client.get("/health/live").status_code == 200
        assert time.monotonic() - told < TIMEOUT_S
        answers, took = asking.result()
        assert ready.result().status_code == 503
    assert took < 2 * TIMEOUT_S + AT_ONCE_S
    for answer in answers:
        assert_problem(answer, 503, "encoder-unavailable", "did not answer within 1 seconds")
        assert answer.headers["retry-after"] == "1"
    service.faulty.fault = "none"
    assert service.resumes()
    assert not service.metric('encoder_restarts_total{encoder="tiny"} 0.0')


def test_one_that_hangs_and_cannot_be_loaded_again_asks_for_a_new_process(service: Service) -> None:
    service.faulty.fault, service.faulty.fault_of_loading = "hangs", True
    answers, _ = service.ask_all()
    assert {answer.status_code for answer in answers} == {503}
    deadline = time.monotonic() + PATIENCE_S
    while service.health() != (503, 503):
        assert time.monotonic() < deadline
    answers, took = service.ask_all()
    assert took < AT_ONCE_S
    for answer in answers:
        assert_problem(answer, 503, "encoder-unavailable", "could not be loaded again")
    assert_problem(service.client.get("/health/live"), 503, "not-ready", "could not be loaded again")


def test_a_thread_that_dies_is_replaced(service: Service) -> None:
    service.faulty.fault = "dies"
    answers, took = service.ask_all()
    assert took < AT_ONCE_S
    for answer in answers:
        assert_problem(answer, 503, "encoder-unavailable", "Send the pictures again.")
    assert service.health() == (200, 503)
    service.faulty.fault = "none"
    assert service.resumes()


def test_a_server_that_is_stopping_says_when_to_come_back(settings: Settings) -> None:
    app = create_app(settings)
    with TestClient(app) as client:
        app.state.drain.set()
        answer = client.get("/health/ready")
        assert_problem(answer, 503, "not-ready", "stopping")
        assert int(answer.headers["retry-after"]) > 0


def test_a_bundle_that_is_corrupt_at_its_swap_disturbs_nobody(
    settings: Settings, bundle: Path, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    bundles = tmp_path / "bundles"
    shutil.copytree(bundle, bundles / "next")
    weights = bundles / "next" / "weights.safetensors"
    intact = weights.read_bytes()
    damaged = bytearray(intact)
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(damaged)
    operated = settings.model_copy(update={"bundles_dir": bundles, "operator_keys": SecretStr("key")})
    with serving(operated, [picture(identity) for identity in range(CALLERS)]) as service:

        def swap() -> Any:
            headers = {"Authorization": "Bearer key"}
            return service.client.put("/v1/encoders/tiny", json={"bundle": "next"}, headers=headers)

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(lambda: [service.ask_all()[0] for _ in range(5)])
            assert_problem(swap(), 422, "bundle-refused", "Nothing was changed.")
            assert service.health() == (200, 200)
            assert all(all(service.right(answers)) for answers in asking.result())
        weights.write_bytes(intact)
        assert swap().status_code == 200
        assert service.resumes()
