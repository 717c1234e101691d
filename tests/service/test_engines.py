"""An encoder runs on the engine that is faster here, found out once, and gives the same embeddings."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anyio import to_thread

from models.bundle import read_bundle
from models.engine_record import EngineRecord, describe, read_record, write_record
from models.errors import BundleError
from models.runtime import Encoder, load_encoder
from service.engines import Engines
from tests.service.hosting import hosting, until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # a killed process closes its pipe later

ORT_FASTER = {"pytorch": (2.0, 2.0), "onnxruntime": (1.0, 1.0)}
ORT_SLOWER = {"pytorch": (1.0, 1.0), "onnxruntime": (2.0, 2.0)}


def engines(remembered: Path, engine: Any = "auto", threads: int = 1) -> Engines:
    return Engines(remembered, engine=engine, device="cpu", threads=threads)


@pytest.fixture(scope="session")
def compared(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    """What a first comparison leaves behind, and what it says."""
    remembered = tmp_path_factory.mktemp("engines")
    return remembered, asyncio.run(engines(remembered).compare(bundle, "pytorch"))


@pytest.fixture
def remembered(compared: tuple[Path, bool], tmp_path: Path) -> Path:
    """A copy of that, to change."""
    return shutil.copytree(compared[0], tmp_path / "engines")


def home(remembered: Path) -> Path:
    (one,) = remembered.iterdir()
    return one


def set_seconds(remembered: Path, seconds: dict[str, tuple[float, float]]) -> None:
    write_record(home(remembered), EngineRecord(machine=describe(1), seconds=seconds))


def pictures(encoder: Encoder, count: int = 5) -> Any:
    spec = encoder.manifest.input
    shape = (count, spec.height, spec.width, spec.depth)
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


def test_the_faster_one_is_loaded_from_then_on(bundle: Path, compared: tuple[Path, bool]) -> None:
    remembered, another = compared
    record = read_record(home(remembered), describe(1))
    assert record is not None
    assert set(record.seconds) == {"pytorch", "onnxruntime"}
    assert all(0 < one < 60 and 0 < many < 60 for one, many in record.seconds.values())
    assert another == (record.fastest() == "onnxruntime")
    assert engines(remembered).load(bundle).engine.name == record.fastest()
    for running in ("pytorch", "onnxruntime"):  # known already
        assert asyncio.run(engines(remembered).compare(bundle, running)) == (record.fastest() != running)


def test_both_give_the_same_embeddings_under_the_same_fingerprint(bundle: Path, remembered: Path) -> None:
    set_seconds(remembered, ORT_FASTER)
    exported = engines(remembered).load(bundle)
    set_seconds(remembered, ORT_SLOWER)
    plain = engines(remembered).load(bundle)
    assert (exported.engine.name, plain.engine.name) == ("onnxruntime", "pytorch")
    assert exported.manifest == plain.manifest
    batch = pictures(plain)
    np.testing.assert_allclose(exported.encode(batch), plain.encode(batch), atol=1e-5)


def test_what_was_not_measured_on_this_machine_runs_on_pytorch(bundle: Path, remembered: Path) -> None:
    set_seconds(remembered, ORT_FASTER)
    assert engines(remembered).load(bundle).engine.name == "onnxruntime"
    assert engines(remembered, threads=2).load(bundle).engine.name == "pytorch"  # as if on another machine
    assert engines(remembered / "elsewhere").load(bundle).engine.name == "pytorch"


def test_a_setting_decides(bundle: Path, remembered: Path) -> None:
    set_seconds(remembered, ORT_FASTER)
    assert engines(remembered, "pytorch").load(bundle).engine.name == "pytorch"
    set_seconds(remembered, ORT_SLOWER)
    assert engines(remembered, "onnxruntime").load(bundle).engine.name == "onnxruntime"
    assert not asyncio.run(engines(remembered / "elsewhere", "pytorch").compare(bundle, "pytorch"))
    assert not (remembered / "elsewhere").exists()


def test_onnxruntime_asked_for_makes_the_graph_before_it_serves(bundle: Path, tmp_path: Path) -> None:
    encoder = engines(tmp_path / "engines", "onnxruntime").load(bundle)
    assert encoder.engine.name == "onnxruntime"
    batch = pictures(encoder)
    np.testing.assert_allclose(encoder.encode(batch), load_encoder(bundle).encode(batch), atol=1e-5)


def test_a_damaged_graph_is_forgotten_and_pytorch_serves(
    bundle: Path, remembered: Path, caplog: pytest.LogCaptureFixture
) -> None:
    set_seconds(remembered, ORT_FASTER)
    graph = home(remembered) / "onnx" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    assert engines(remembered).load(bundle).engine.name == "pytorch"
    assert "is not the file that its manifest names" in caplog.text
    assert not graph.exists()
    assert read_record(graph.parent.parent, describe(1)) is None


def test_a_graph_of_other_weights_is_refused(bundle: Path, remembered: Path) -> None:
    set_seconds(remembered, ORT_FASTER)
    fingerprint = read_bundle(bundle).manifest.fingerprint
    manifest = home(remembered) / "onnx" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(fingerprint, "0" * 64))
    assert engines(remembered).load(bundle).engine.name == "pytorch"


def test_why_no_graph_could_be_made_is_remembered(bundle: Path, tmp_path: Path) -> None:
    remembered = tmp_path / "engines"
    place = remembered / read_bundle(bundle).manifest.fingerprint
    place.mkdir(parents=True)
    (place / "onnx").write_text("something else")
    assert not asyncio.run(engines(remembered).compare(bundle, "pytorch"))
    record = read_record(place, describe(1))
    assert record is not None
    assert record.refused is not None
    assert "is a file. Name a new folder" in record.refused
    assert engines(remembered).load(bundle).engine.name == "pytorch"
    with pytest.raises(BundleError, match="No graph for ONNX Runtime could be made of it"):
        engines(remembered, "onnxruntime").load(bundle)


def test_a_comparison_that_is_cancelled_leaves_nothing_running(bundle: Path, tmp_path: Path) -> None:
    async def cancel() -> float:
        comparing = asyncio.create_task(engines(tmp_path / "engines").compare(bundle, "pytorch"))
        await until(lambda: bool(children()))
        asked = time.monotonic()
        comparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await comparing
        return time.monotonic() - asked

    assert asyncio.run(cancel()) < 5
    assert not children()
    assert not list(tmp_path.glob("engines/*/engine.json"))


def children() -> list[int]:
    """Return the processes that export now."""
    return [int(home.name) for home in Path("/proc").glob("[0-9]*") if exports(home)]


def exports(home: Path) -> bool:
    """Tell whether a process is a child of this one and exports; one that ends meanwhile does not."""
    try:
        parent = int((home / "stat").read_text().rpartition(")")[2].split()[1])
        return parent == os.getpid() and b"export" in (home / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_export_stands_behind_what_is_served_meanwhile(bundle: Path, tmp_path: Path) -> None:
    steps = min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + 10, 19)

    def stands_back() -> bool:
        return {os.getpriority(os.PRIO_PROCESS, child) for child in children()} == {steps}

    async def compare() -> None:
        comparing = asyncio.create_task(engines(tmp_path / "engines").compare(bundle, "pytorch"))
        await until(stands_back)
        comparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await comparing

    asyncio.run(compare())


def test_an_export_that_is_killed_says_nothing_about_the_encoder(bundle: Path, tmp_path: Path) -> None:
    async def kill() -> bool:
        comparing = asyncio.create_task(engines(tmp_path / "engines").compare(bundle, "pytorch"))
        await until(lambda: bool(children()))
        for child in await to_thread.run_sync(children):
            os.kill(child, signal.SIGINT)
            os.kill(child, signal.SIGKILL)
        return await comparing

    assert not asyncio.run(kill())
    assert not list(tmp_path.glob("engines/*/engine.json"))


def test_onnxruntime_makes_a_damaged_graph_again(bundle: Path, remembered: Path) -> None:
    graph = home(remembered) / "onnx" / "model.onnx"
    whole = graph.stat().st_size
    graph.write_bytes(b"damaged")
    assert engines(remembered, "onnxruntime").load(bundle).engine.name == "onnxruntime"
    assert graph.stat().st_size == whole


def test_encoders_used_least_recently_are_forgotten(bundle: Path, tmp_path: Path) -> None:
    remembered = tmp_path / "engines"
    for number in range(20):
        write_record(remembered / f"{number:064}", EngineRecord(machine="another"))
        os.utime(remembered / f"{number:064}" / "engine.json", (number, number))
    read_record(remembered / f"{0:064}", "another")  # used just now
    (remembered / "0f" / "onnx").mkdir(parents=True)  # whose comparison was broken off
    os.utime(remembered / "0f", (1, 1))
    (remembered / read_bundle(bundle).manifest.fingerprint).mkdir()
    (remembered / read_bundle(bundle).manifest.fingerprint / "onnx").write_text("refused at once")
    asyncio.run(engines(remembered).compare(bundle, "pytorch"))
    left = {path.name for path in remembered.iterdir()}
    assert len(left) == 16
    assert {f"{number:064}" for number in (0, *range(6, 20))} < left


def test_a_server_goes_over_to_the_faster_engine_while_it_serves(bundle: Path, remembered: Path) -> None:
    """The comparison is held at a gate; what it finds is set."""
    set_seconds(remembered, ORT_SLOWER)
    chosen, found = engines(remembered), asyncio.Event()

    async def compare(folder: Path, running: str) -> bool:
        await found.wait()
        await to_thread.run_sync(set_seconds, remembered, ORT_FASTER)
        return True

    async def serve() -> list[str]:
        async with hosting(chosen.load, compare) as hosted:
            first = await hosted.host(bundle)
            names = [hosted.default.engine.name]
            found.set()
            await until(lambda: hosted.default is not first)
            await hosted.default.check()
            return [*names, hosted.default.engine.name, hosted.default.name]

    assert asyncio.run(serve()) == ["pytorch", "onnxruntime", "tiny"]
