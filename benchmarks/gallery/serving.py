"""Our server for the scenarios that have no peers, started, loaded and searched."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.gallery.client import put_bodies
from benchmarks.gallery.ours import SEARCH, serve_command
from benchmarks.gallery.targets import Place, Running, wait_for
from benchmarks.serving.load import Form, Load, run_load
from benchmarks.serving.processes import free_port, started

__all__ = ["run_bodies", "serving"]

_JSON = "application/json"


@contextlib.contextmanager
def serving(data: Path, *before: str) -> Iterator[Running]:
    """Start the server on a folder, wait until it is ready, and stop it afterwards.

    Args:
        data: its folder.
        before: words that stand before the command, as of a tracer.
    """
    port = free_port()
    command = [*before, *serve_command(data, port)]
    with started(command, {}, port, data.with_suffix(".log")) as tree:
        place = Place(data, data, command[0], data, data)
        running = Running(tree, port, place)
        wait_for(running, "GET", "/health/ready")
        yield running


def run_bodies(
    running: Running, bodies: Sequence[bytes], folder: Path, *, clients: int, seconds: int, path: str = SEARCH
) -> Load:
    """Post JSON bodies in turn, by wrk; a warm-up of a second first."""
    lists = {False: put_bodies(bodies, folder)}
    form, url = Form("JSON", path, _JSON, None, ()), f"http://127.0.0.1:{running.port}"
    run_load(url, form, lists, clients=clients, seconds=1)
    return run_load(url, form, lists, clients=clients, seconds=seconds)
