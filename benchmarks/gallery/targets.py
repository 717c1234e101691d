"""The servers that are compared: how each is started, filled, tuned and asked."""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks.gallery.client import Rest, ask, put_bodies
from benchmarks.gallery.data import Floats
from benchmarks.serving.load import Form, Load, run_load
from benchmarks.serving.processes import Tree, free_port, started

__all__ = ["EFFORTS", "HttpTarget", "Place", "Running", "Target", "rows_of", "wait_for"]

# efSearch and its like, from the least: the first with the recall that is asked for is taken.
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_LOADED_S = 1_200.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server's things are.

    Attributes:
        folder: of its data, which stays from its filling to its last round.
        peers: the folder of the peers' environments.
        python: of the project.
        vectors: the file of the (N, D) rows.
        shared: what all have: the FAISS index, and what Lookalike chose.
        state: what it was filled with and tuned to, as JSON can keep it.
    """

    folder: Path
    peers: Path
    python: str
    vectors: Path
    shared: Path
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A started server.

    Attributes:
        tree: its processes.
        port: of the loopback interface.
        place: its things.
    """

    tree: Tree
    port: int
    place: Place


class Target(ABC):
    """A server of the comparison.

    Attributes:
        title: in the document.
        key: in the names of files.
        restarts: whether a changed effort counts from its next start.
        protocol: how it is asked.
    """

    title: str
    key: str
    protocol: str = "HTTP, JSON"
    restarts: bool = False

    def missing(self, place: Place) -> str:
        """Return why it cannot be started here; empty where it can."""
        failed = place.peers / f"{self.key}.failed"
        return f"not installed: {failed.read_text(encoding='utf-8').strip()}" if failed.is_file() else ""

    @contextlib.contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        """Start it on its data and wait until it answers.

        Raises:
            StartError: it does not start.
        """
        port = free_port()
        log = place.folder.with_suffix(".log")
        command, environment = self.command(place, port), self.environment(place)
        with started(command, environment, port, log) as tree:
            running = Running(tree, port, place)
            self.wait(running)
            yield running

    @abstractmethod
    def command(self, place: Place, port: int) -> list[str]:
        """Return what starts it."""

    def environment(self, place: Place) -> dict[str, str]:
        """Return the variables that it is started with."""
        return {}

    @abstractmethod
    def wait(self, running: Running) -> None:
        """Wait until what it has is searchable; it listens already."""

    @abstractmethod
    def fill(self, running: Running, vectors: Floats) -> None:
        """Give it every row, and wait until they are indexed."""

    def efforts(self, running: Running) -> Sequence[int]:
        """Return what `tune` may be given, from the least; empty where there is nothing to tune."""
        return EFFORTS

    @abstractmethod
    def tune(self, running: Running, effort: int, vectors: Floats) -> None:
        """Search with so much effort from now on."""

    @abstractmethod
    def found(self, running: Running, queries: Floats) -> list[list[int]]:
        """Return the rows that it finds for each query, asked one after the other."""

    @abstractmethod
    def load(self, running: Running, queries: Floats, *, clients: int, seconds: int) -> Load:
        """Ask it as fast as so many clients can."""

    def about(self, running: Running) -> str:
        """Return its index and parameters in words."""
        effort = running.place.state.get("effort")
        return f"HNSW, M 16, ef {effort}" if effort else "HNSW, M 16"


class HttpTarget(Target):
    """A server that is asked over HTTP in JSON, by wrk where it is measured."""

    @abstractmethod
    def path(self, running: Running) -> str:
        """Return the path of a search."""

    @abstractmethod
    def body(self, query: Floats, effort: int) -> dict[str, Any]:
        """Return a search for the (D,) query; the effort of most is not the request's."""

    @abstractmethod
    def ids(self, answer: Any) -> list[str]:
        """Return the ids in an answer."""

    def found(self, running: Running, queries: Floats) -> list[list[int]]:
        """Return the rows that it finds for each query, asked one after the other."""
        path, effort = self.path(running), running.place.state.get("effort", 0)
        with Rest(running.port) as rest:
            answers = [rest.ask("POST", path, self.body(query, effort)) for query in queries]
        return [rows_of(self.ids(one)) for one in answers]

    def load(self, running: Running, queries: Floats, *, clients: int, seconds: int) -> Load:
        """Ask it as fast as so many clients can; wrk goes through the queries in order."""
        folder = running.place.folder.with_suffix(".queries")
        effort = running.place.state.get("effort", 0)
        asked = (self.body(one, effort) for one in queries)
        bodies = (orjson.dumps(one, option=orjson.OPT_SERIALIZE_NUMPY) for one in asked)
        lists = {False: put_bodies(bodies, folder)}
        form = Form("JSON", self.path(running), "application/json", None, ())
        return run_load(f"http://127.0.0.1:{running.port}", form, lists, clients=clients, seconds=seconds)


def rows_of(ids: Sequence[str]) -> list[int]:
    """Return the rows that the ids p0, p1, ... name."""
    return [int(one[1:]) for one in ids]


def wait_for(running: Running, method: str, path: str, content: Any = None) -> Any:
    """Ask a server until it answers.

    Raises:
        OSError, AnswerError: the last refusal, when its time is over or it has ended.
    """
    deadline = time.monotonic() + _LOADED_S
    while True:
        try:
            return ask(running.port, method, path, content)
        except Exception:  # whatever a server that is not ready says
            if time.monotonic() > deadline or not running.tree.running():
                raise
        time.sleep(0.1)
