"""The load: wrk, which sends the pictures over a number of connections, and what it took itself."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Form", "Load", "MissingError", "lists_of", "run_load"]

_SCRIPT = Path(__file__).with_name("load.lua")
_TIMEOUT_S = 30


class MissingError(Exception):
    """wrk is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a server takes a picture.

    Attributes:
        title: in the document.
        path: of the URL.
        content_type: of the body.
        around: the body's text with %s for the base64; None for the file as it is.
        answer: the keys and indices that lead to the embedding in the JSON that comes back.
        accept: the media type that is asked for; empty where the server chooses.
    """

    title: str
    path: str
    content_type: str
    around: str | None
    answer: tuple[str | int, ...]
    accept: str = ""

    def body(self, data: bytes) -> bytes:
        """Return the body for a picture."""
        if self.around is None:
            return data
        return (self.around % base64.b64encode(data).decode()).encode()

    def embedding(self, answer: Any) -> list[float]:
        """Return the embedding in an answer."""
        for step in self.answer:
            answer = answer[step]
        found: list[float] = answer
        return found


@dataclass(frozen=True, slots=True)
class Load:
    """What one run found.

    Attributes:
        images_per_s: answers with status 200 a second.
        p50_ms, p99_ms: of all answers.
        refused, broken: answers of another status; connections that failed or took longer than 30 s.
        generator_cpu: processor seconds of the generator a second.
    """

    images_per_s: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int
    generator_cpu: float

    def as_record(self) -> dict[str, Any]:
        """Return it for a file of results."""
        return asdict(self)


def lists_of(pictures: Sequence[Path], folder: Path) -> dict[bool, Path]:
    """Write what wrk reads: the list of the pictures (False), and that of their base64 (True)."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = []
    for picture in pictures:
        path = folder / f"{picture.stem}.b64"
        path.write_bytes(base64.b64encode(picture.read_bytes()))
        encoded.append(path)
    lists = {False: folder / "pictures.txt", True: folder / "base64.txt"}
    for in_base64, paths in ((False, pictures), (True, encoded)):
        lists[in_base64].write_text("".join(f"{path.resolve()}\n" for path in paths), encoding="utf-8")
    return lists


def run_load(url: str, form: Form, lists: dict[bool, Path], *, clients: int, seconds: int) -> Load:
    """Send pictures for some seconds, each client one after the other.

    Args:
        url: of the server, without a path.
        form: how it takes a picture.
        lists: as `lists_of` wrote them.
        clients: connections.
        seconds: how long.

    Raises:
        MissingError: there is no wrk.
        RuntimeError: it failed.
    """
    if shutil.which("wrk") is None:
        raise MissingError("The load comes from wrk, which is not installed: apt-get install wrk.")
    command = ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s"]
    command += ["--timeout", f"{_TIMEOUT_S}s", "--script", str(_SCRIPT), url, "--"]
    command += [form.path, form.content_type, str(lists[form.around is not None]), form.around or "raw"]
    command += [form.accept] if form.accept else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as stdout:
        text = stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    last = (text.strip().splitlines() or [""])[-1]
    if process.returncode or not last.startswith("{"):
        raise RuntimeError(f"wrk ended with {process.returncode}: {last}")
    found = json.loads(last)
    return Load(
        (found["answers"] - found["refused"]) / found["seconds"],
        found["p50_ms"],
        found["p99_ms"],
        found["refused"],
        found["broken"],
        (usage.ru_utime + usage.ru_stime) / found["seconds"],
    )
