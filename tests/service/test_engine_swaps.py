"""What happens to an encoder while a faster engine is looked for stays as its operator wants it."""

import asyncio
import json
import shutil
import threading
from pathlib import Path

import pytest
from anyio import to_thread

from models.bundle import read_bundle
from models.runtime import Encoder, load_encoder
from tests.service.hosting import hosting, until


def test_what_an_operator_hosts_meanwhile_stays(bundle: Path, tmp_path: Path) -> None:
    """The comparison of the first ends when a second is in its place: the first does not come back."""
    found, looked = asyncio.Event(), []
    other = shutil.copytree(bundle, tmp_path / "other")

    async def compare(folder: Path, running: str) -> bool:
        looked.append(folder)
        await found.wait()
        return folder == bundle

    async def serve() -> list[Path]:
        loaded: list[Path] = []
        lock = threading.Lock()

        def load(folder: Path) -> Encoder:
            with lock:
                loaded.append(folder)
            return load_encoder(folder)

        async with hosting(load, compare) as hosted:
            await hosted.host(bundle)
            second = await hosted.host(other)
            found.set()
            await until(lambda: len(looked) == 2)
            await asyncio.sleep(0.1)
            assert hosted.default is second
        return loaded

    assert asyncio.run(serve()) == [bundle, other]


def test_the_log_says_what_a_new_one_takes_the_place_of(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = shutil.copytree(bundle, tmp_path / "other")
    _write_other(other)
    caplog.set_level("INFO", logger="lookalike")

    async def serve() -> None:
        async with hosting(load_encoder, None) as hosted:
            for folder in (bundle, bundle, other):
                await hosted.host(folder)

    asyncio.run(serve())
    first, again, another = [one for one in caplog.messages if one.startswith("Encoder tiny")]
    known = read_bundle(bundle).manifest.fingerprint[:12]
    assert first.endswith(f"fingerprint {known}.")
    assert again.endswith(f"fingerprint {known}, the same as before on pytorch.")
    assert another.endswith(f", in place of {known}.")


def test_what_is_removed_while_it_goes_over_to_another_engine_stays_removed(
    bundle: Path, tmp_path: Path
) -> None:
    """The second loading, of the other engine, is held at a gate, and the encoder removed meanwhile."""
    other = shutil.copytree(bundle, tmp_path / "other")
    loads: list[Path] = []
    gate = threading.Event()

    def load(folder: Path) -> Encoder:
        loads.append(folder)
        if loads.count(other) == 2:
            assert gate.wait(60)
        return load_encoder(folder)

    async def compare(folder: Path, running: str) -> bool:
        return folder == other

    async def serve() -> list[str]:
        async with hosting(load, compare) as hosted:
            await hosted.host(bundle)
            await hosted.host(other, "second")
            await until(lambda: loads.count(other) == 2)
            hosted.remove("second")
            gate.set()
            await asyncio.sleep(0.3)
            return [one.name for one in hosted.all()]

    assert asyncio.run(serve()) == ["tiny"]


def test_a_bundle_that_was_replaced_on_the_disk_is_not_hosted_by_itself(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, fingerprints = shutil.copytree(bundle, tmp_path / "changing"), []

    async def compare(folder: Path, running: str) -> bool:
        await to_thread.run_sync(_write_other, folder)
        return True

    async def serve() -> None:
        async with hosting(load_encoder, compare) as hosted:
            first = await hosted.host(folder)
            await until(lambda: "was replaced by another on the disk" in caplog.text)
            assert hosted.default is first
            fingerprints.append(hosted.default.manifest.fingerprint)

    asyncio.run(serve())
    assert fingerprints == [read_bundle(bundle).manifest.fingerprint]


def _write_other(folder: Path) -> None:
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text())
    content["input"]["std"] = [64.5] * 3  # within parity, and another encoder
    manifest.write_text(json.dumps(content))
