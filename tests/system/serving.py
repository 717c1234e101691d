"""The real server as a process of its own, on a free port, bounded in time."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

__all__ = ["Server", "running_server"]

_STARTUP_S = 180
_LIFETIME_S = 600


class Server:
    """A started `lookalike serve`; its log is the file beside its data."""

    def __init__(self, data_dir: Path, *arguments: str, lifetime_s: int = _LIFETIME_S) -> None:
        self.data_dir = data_dir
        self.log = data_dir.parent / f"{data_dir.name}.log"
        command = [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--data-dir", str(data_dir)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOOKALIKE_")}
        # Else each server would begin to export and to measure beside what the test is about.
        environment["LOOKALIKE_ENGINE"] = "pytorch"
        self._log_file = self.log.open("w")
        self.process = subprocess.Popen(
            ["timeout", "--foreground", str(lifetime_s), *command, *arguments],
            stdout=self._log_file,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        self.url = self._wait_for_url()

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + _STARTUP_S
        while time.monotonic() < deadline:
            log = self.log.read_text()
            found = re.search(r"running on (http://\S+)", log)
            if found and "lookalike: Ready. Collections: " in log:
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=60)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._log_file.close()

    def ask_to_stop(self) -> None:
        """Send it SIGTERM, as an operator would."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to stop; return the exit code."""
        self.ask_to_stop()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        code = self.process.wait(timeout=30)
        self._log_file.close()
        return code

    @property
    def pid(self) -> int:
        """Return the server's pid, below that of the `timeout` that bounds its life."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else self.process.pid


@contextlib.contextmanager
def running_server(data_dir: Path, *arguments: str, lifetime_s: int = _LIFETIME_S) -> Iterator[Server]:
    """Start a server and stop it afterwards, or when its time is over."""
    server = Server(data_dir, *arguments, lifetime_s=lifetime_s)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
