"""A server as a tree of processes: started, waited for, measured and ended as a whole."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["StartError", "Tree", "free_port", "started"]

_ROOT = Path(__file__).resolve().parents[2]
_STARTUP_S = 120
_END_S = 10
_TICKS = os.sysconf("SC_CLK_TCK")


class StartError(Exception):
    """A server did not start; the message is the end of its log."""


class Tree:
    """A started process with all that it starts.

    Args:
        process: the first of them, in a session of its own.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def pids(self) -> list[int]:
        """Return the processes of the tree that live."""
        parents: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents.setdefault(int(_fields(path)[1]), []).append(int(path.parent.name))
        found = [self._process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def memory_bytes(self) -> int:
        """Return the memory of all; what several share counts once (PSS)."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += sum(int(size) for size in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))
        return total * 1024

    def cpu_s(self) -> float:
        """Return the processor seconds that all have taken."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = _fields(Path(f"/proc/{pid}/stat"))
                total += int(fields[11]) + int(fields[12])  # utime and stime
        return total / _TICKS

    def running(self) -> bool:
        """Say whether the first process lives."""
        return self._process.poll() is None

    def end(self) -> None:
        """Ask the first to stop, and end what is left."""
        others = [pid for pid in self.pids() if pid != self._process.pid]
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _END_S  # what still ends would take from the next server
        while any(map(_lives, others)) and time.monotonic() < deadline:
            time.sleep(0.05)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextlib.contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], port: int, log: Path) -> Iterator[Tree]:
    """Start a server in the root of the project, wait until it listens, and end it afterwards.

    Raises:
        StartError: it ended, or does not listen within two minutes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        tree = Tree(process)
        try:
            _wait(tree, port, log)
            yield tree
        finally:
            tree.end()


def _wait(tree: Tree, port: int, log: Path) -> None:
    deadline = time.monotonic() + _STARTUP_S
    while tree.running() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing in its log"]
    raise StartError(f"it did not start: {lines[-1]}")


def _lives(pid: int) -> bool:
    try:
        return _fields(Path(f"/proc/{pid}/stat"))[0] != "Z"
    except OSError:
        return False


def _fields(path: Path) -> list[str]:
    """Return the fields of a /proc/PID/stat from the state on; the name before it may hold anything."""
    return path.read_text().rpartition(")")[2].split()
