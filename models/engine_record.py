"""What was found out about an encoder's engines on a machine, kept in a folder."""

import logging
import math
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ["EngineRecord", "describe", "forget_others", "read_record", "write_record"]

_logger = logging.getLogger("lookalike")

_FILE = "engine.json"
_LIBRARIES = ("torch", "onnxruntime", "onnxscript")  # without the last no graph can be made


class EngineRecord(BaseModel):
    """What was found out about one encoder.

    Attributes:
        machine: where: the processor, the threads and the libraries' versions.
        refused: why it cannot run on ONNX Runtime, as a sentence; None where it can.
        seconds: for one picture and for a batch, by engine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    refused: str | None = None
    seconds: dict[str, tuple[float, float]] = Field(default_factory=dict)

    def fastest(self) -> str:
        """Return the engine whose geometric mean of both times is least."""
        return min(self.seconds, key=lambda engine: math.prod(self.seconds[engine]), default="pytorch")


def describe(threads: int) -> str:
    """Return the processor, the threads and the libraries, in which a record holds."""
    processor = platform.machine()
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        processor = found[1].strip() if found else processor
    return ", ".join([processor, f"{threads or os.cpu_count()} threads", *_versions()])


def read_record(home: Path, machine: str) -> EngineRecord | None:
    """Return what is known of the encoder of a folder; None where that is nothing, or of another machine."""
    try:
        record = EngineRecord.model_validate_json((home / _FILE).read_bytes())
        os.utime(home / _FILE)  # those used last are kept
    except (OSError, ValidationError):
        return None
    return record if record.machine == machine else None


def write_record(home: Path, record: EngineRecord) -> None:
    """Keep a record, whole or not at all; where it cannot be kept, it is found out again next time."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        unfinished = home / f"{_FILE}.{os.getpid()}"
        unfinished.write_text(record.model_dump_json(indent=2))
        unfinished.replace(home / _FILE)
    except OSError as error:
        _logger.warning("What runs an encoder fastest cannot be remembered in %s: %s", home, error)


def forget_others(remembered: Path, most: int) -> None:
    """Delete the folders of all encoders but those used last."""
    used = sorted(remembered.glob("*/"), key=_used, reverse=True)
    for folder in used[most:]:
        shutil.rmtree(folder, ignore_errors=True)


def _used(folder: Path) -> float:
    for one in (folder / _FILE, folder):  # without a record, when its graph was made
        with suppress(OSError):
            return one.stat().st_mtime
    return 0.0


def _versions() -> Iterator[str]:
    for library in _LIBRARIES:
        try:
            yield f"{library} {version(library)}"
        except PackageNotFoundError:
            yield f"no {library}"
