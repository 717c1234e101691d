"""Which engine runs an encoder on this machine: as it is set, or as it was measured."""

import asyncio
import json
import logging
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from anyio import to_thread

from models.bundle import holds_bundle, read_bundle
from models.engine_record import EngineRecord, describe, forget_others, read_record, write_record
from models.engines import Device
from models.errors import BundleError
from models.fastest import MEASURED_BATCH
from models.manifest import Manifest
from models.runtime import Encoder, load_encoder
from service.cpus import stand_back

__all__ = ["Engines"]

_logger = logging.getLogger("lookalike")

_MOST_REMEMBERED = 16
_LONGEST_S = 600.0
_STEPS_BACK = 10  # behind what is served meanwhile, which stands behind the event loop itself
_MADE = "A graph for ONNX Runtime is made of %s, once, in %s."


class _BrokenOffError(BundleError):
    """A graph was not made whole, which says nothing about the bundle."""


class Engines:
    """Loads bundles for the engine that is to run them.

    An architecture of ours on the CPU runs on PyTorch, or as a graph on ONNX Runtime, of which `auto` takes
    the faster. On a GPU `auto` is PyTorch. A bundle that holds a graph runs on ONNX Runtime anyway.

    Args:
        remembered: a folder for graphs and for what was measured.
        engine: what runs architectures of ours.
        device: auto takes a GPU where there is one.
        threads: ONNX Runtime's. PyTorch's are the process's (torch.set_num_threads).
    """

    def __init__(
        self,
        remembered: Path,
        *,
        engine: Literal["auto", "pytorch", "onnxruntime"],
        device: Device,
        threads: int,
    ) -> None:
        self._remembered, self._engine = remembered, engine
        self._device, self._threads = device, threads
        self._comparing = asyncio.Lock()

    def load(self, folder: Path) -> Encoder:
        """Load a bundle and check that it gives its reference outputs.

        What was not measured yet runs on PyTorch.

        Raises:
            BundleError: it is damaged, cannot be run, or gives other outputs than it states; or ONNX Runtime
                was asked for and cannot run it.
            OptionError: the device is not there.
        """
        encoder = load_encoder(folder, device=self._device, threads=self._threads)
        if not self._may_choose(encoder.manifest):
            return encoder
        graph = self._home(encoder.manifest) / "onnx"
        if self._engine == "onnxruntime":
            return self._exported(folder, encoder, graph)
        known = read_record(graph.parent, self._machine)
        if known is None or known.fastest() == encoder.engine.name:
            return encoder
        try:
            return self._on_onnxruntime(encoder, graph)
        except BundleError as error:
            _logger.warning("The encoder %r runs on PyTorch this time: %s", encoder.manifest.name, error)
            shutil.rmtree(graph.parent, ignore_errors=True)  # made and measured anew next time
            return encoder

    async def compare(self, folder: Path, running: str) -> bool:
        """Measure the engines where that was not done on this machine, and say if `load` now takes another.

        It may be cancelled; then it is begun anew next time.

        Args:
            folder: the bundle's.
            running: the engine that runs it now.
        """
        if self._engine != "auto":
            return False
        async with self._comparing:
            manifest = (await to_thread.run_sync(read_bundle, folder)).manifest
            if not self._may_choose(manifest):
                return False
            name, home = manifest.name, self._home(manifest)
            known = await to_thread.run_sync(lambda: read_record(home, self._machine))
            if known is not None:
                return known.fastest() != running
            try:
                _logger.info(_MADE, folder, home / "onnx")
                await _run_beside(_exporting(folder, home / "onnx"))
                record = await self._measure(name, folder, home / "onnx")
            except _BrokenOffError as error:
                _logger.warning("The encoder %r runs on PyTorch for now: %s", name, error)
                return False
            except BundleError as error:
                record = EngineRecord(machine=self._machine, refused=str(error))
                _logger.warning("The encoder %r runs on PyTorch: %s", name, error)
            await to_thread.run_sync(write_record, home, record)
            await to_thread.run_sync(forget_others, self._remembered, _MOST_REMEMBERED)
        return record.fastest() != running

    @cached_property
    def _machine(self) -> str:
        """Return where it is measured; read from the disk, in a thread, when an encoder is first loaded."""
        return describe(self._threads)

    def _exported(self, folder: Path, encoder: Encoder, graph: Path) -> Encoder:
        """Return an encoder on ONNX Runtime, its graph made where it is missing or damaged."""
        if holds_bundle(graph):
            try:
                return self._on_onnxruntime(encoder, graph)
            except BundleError as error:
                _logger.warning("The graph of %r is made again: %s", encoder.manifest.name, error)
                shutil.rmtree(graph, ignore_errors=True)
        _export(folder, graph)
        forget_others(self._remembered, _MOST_REMEMBERED)
        return self._on_onnxruntime(encoder, graph)

    def _may_choose(self, manifest: Manifest) -> bool:
        on_gpu = self._device != "cpu" and torch.cuda.is_available()
        return not (
            manifest.onnx is not None or self._engine == "pytorch" or (self._engine == "auto" and on_gpu)
        )

    def _home(self, manifest: Manifest) -> Path:
        return self._remembered / manifest.fingerprint

    async def _measure(self, name: str, folder: Path, graph: Path) -> EngineRecord:
        command = [sys.executable, "-m", "models.fastest", str(folder), str(graph), str(self._threads)]
        seconds = json.loads(await _run_beside(command))
        record = EngineRecord(machine=self._machine, seconds=seconds)
        _logger.info(
            "The encoder %r runs on %s from now on. Milliseconds for 1 and %d pictures: %s.",
            name,
            record.fastest(),
            MEASURED_BATCH,
            ", ".join(
                f"{engine} {one * 1e3:.1f}, {many * 1e3:.1f}" for engine, (one, many) in seconds.items()
            ),
        )
        return record

    def _on_onnxruntime(self, encoder: Encoder, graph: Path) -> Encoder:
        exported = load_encoder(graph, device=self._device, threads=self._threads)
        if exported.manifest.derived_from != encoder.manifest.fingerprint:
            raise BundleError(f"{graph} is the graph of another encoder.")
        return Encoder(encoder.manifest, exported.engine, encoder.faces)


def _exporting(folder: Path, graph: Path) -> list[str]:
    """Return what makes a graph in a process of its own: what the exporter loads would stay in this one."""
    return [
        *(sys.executable, "-m", "service.cli", "encoder", "export"),
        *(str(folder), "--out", str(graph), "--replace"),
    ]


def _export(folder: Path, graph: Path) -> None:
    _logger.info(_MADE, folder, graph)
    command = _exporting(folder, graph)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    _check(ended.returncode, ended.stderr)


async def _run_beside(command: list[str]) -> bytes:
    """Run a process while the server serves, and return what it prints; where this is cancelled it ends too.

    Raises:
        BundleError: it refused the bundle, or was ended.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # else a Ctrl-C would reach it as well, and seem to be its own failure
    )
    stand_back(process.pid, _STEPS_BACK)
    try:
        async with asyncio.timeout(_LONGEST_S):
            printed, told = await process.communicate()
    except (asyncio.CancelledError, TimeoutError):
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    _check(process.returncode or 0, told.decode(errors="replace"))
    return printed


def _check(code: int, told: str) -> None:
    """Raise what a process has told.

    Raises:
        BundleError: it refused the bundle, or was ended.
    """
    if code < 0:
        raise _BrokenOffError(f"The process for its graph for ONNX Runtime was ended (signal {-code}).")
    if code:
        last = told.strip().splitlines()[-1:] or [f"the process ended with {code}"]
        raise BundleError(f"No graph for ONNX Runtime could be made of it: {last[0].removeprefix('Error: ')}")
