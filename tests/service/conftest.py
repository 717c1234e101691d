"""The application with a small real encoder, on a fresh data directory."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from blockbuster import blockbuster_ctx
from starlette.testclient import TestClient

from models.bundle import Architecture, EncoderSpec, InputSpec
from models.drawing import draw_vehicle
from models.networks import build_network
from models.runtime import save_encoder
from service.app import create_app
from service.batch_size import BatchLimits
from service.batching import Batcher, Encode
from service.pace import Pace
from service.settings import Settings
from service.telemetry import Telemetry
from service.turns import Source
from tests.service.batches import PATIENCE_S, Elsewhere, Recorder, Start

DIMENSION = 16


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of our own architecture with random weights: small, real, and told apart by its input."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    torch.manual_seed(0)
    params: dict[str, int | float | str | bool] = {"dimension": DIMENSION}
    network = build_network("small_resnet", **params)
    spec = EncoderSpec(
        name="tiny",
        architecture=Architecture(name="small_resnet", params=params),
        input=InputSpec(height=48, width=64, mean=(127.5,) * 3, std=(64.0,) * 3),
        dimension=DIMENSION,
        normalize=True,
        metric="euclidean",
    )
    inputs = np.stack([np.asarray(draw_vehicle(identity, 0, size=(64, 48))) for identity in range(3)])
    save_encoder(folder, spec, network.state_dict(), inputs)
    return folder


@pytest.fixture
def settings(bundle: Path, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", encoder=str(bundle), engine="pytorch", threads=1)


@pytest.fixture(scope="module", autouse=True)
def _no_blocking() -> Iterator[None]:
    """Make blocking the event loop an error in every test of the service, and in no test that comes after."""
    with blockbuster_ctx(excluded_modules=["starlette.testclient"]) as blocking:
        # Coverage's tracer has a lock of its own, which the threads that it watches wait for at times.
        blocking.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
        yield


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A client of a started application with an empty data directory."""
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="session")
def stateless(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client for what keeps nothing; started once."""
    data_dir = tmp_path_factory.mktemp("data")
    settings = Settings(data_dir=data_dir, encoder=str(bundle), engine="pytorch", threads=1)
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Draw a vehicle as the bytes of a file."""

    def draw(identity: int = 0, view: int = 0, *, file_format: str = "PNG") -> bytes:
        file = BytesIO()
        draw_vehicle(identity, view, size=(80, 60)).save(file, format=file_format)
        return file.getvalue()

    return draw


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts batchers, which are closed at the end."""
    with ExitStack() as stack:

        def start(
            encode: Encode,
            *,
            renew: Callable[[], Encode] = Recorder,
            most: int = 8,
            target_s: float = 1.0,
            timeout_s: float = PATIENCE_S,
            lanes: int = 1,
            source: Source | None = None,
        ) -> Batcher:
            batcher = Batcher(
                encode,
                renew=renew,
                limits=BatchLimits(most, target_s, timeout_s),
                metrics=Telemetry().of_encoder("tiny"),
                pace=Pace(),
                lanes=lambda: lanes,
                source=source or Elsewhere(),
            )
            stack.callback(batcher.close)
            return batcher

        yield start
