"""Searches beside the peers: each server filled once, then measured in rounds, one running at a time."""

import json
import logging
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from benchmarks.core.children import Children, FailedError, TimedOutError
from benchmarks.gallery import limit
from benchmarks.gallery.client import SAFETENSORS, AnswerError, put_bodies
from benchmarks.gallery.data import Floats, Truth, exact, make_queries, make_vectors, recall
from benchmarks.gallery.faiss_index import build, kind_of, put_kind
from benchmarks.gallery.others import Bare, Chroma, Milvus
from benchmarks.gallery.ours import SEARCH, Lookalike
from benchmarks.gallery.pgvector import Pgvector
from benchmarks.gallery.plan import CLIENTS, RECALL, K, Plan
from benchmarks.gallery.targets import EFFORTS, Place, Running, Target
from benchmarks.learning.records import Record, Records
from benchmarks.serving.load import Form, Load, run_load
from benchmarks.serving.processes import StartError

__all__ = ["LIMIT", "TARGETS", "Searches", "name_of"]

log = logging.getLogger(__name__)

TARGETS: tuple[Target, ...] = (Lookalike(), Bare(), Chroma(), Milvus(), Pgvector())
LIMIT = "limit"
_DIMENSION = 128
_TIMEOUT_S = 1_200.0
_PROBLEMS = (
    *(StartError, AnswerError, RuntimeError, OSError, TimedOutError, FailedError),
    subprocess.SubprocessError,
)


def name_of(size: int, key: str, turn: int) -> str:
    """Return the name of a record."""
    return f"searches-{size}-{key}-{turn}"


class Searches:
    """The searches in one size of collection.

    Args:
        plan: of the run.
        size: items.
        folder: for everything that is made.
        peers: the folder of the peers' environments.
        python: of the project.
    """

    def __init__(self, plan: Plan, size: int, folder: Path, peers: Path, python: str) -> None:
        self._plan, self._size, self._peers, self._python = plan, size, peers, python
        self._folder = folder / f"{size}"
        self._children = Children(2)
        self._made: tuple[Floats, Floats, Truth] | None = None

    def measure(self, records: Records) -> int:
        """Measure what is missing, and return how much of it failed."""
        failed = 0
        self._remember(records)
        for turn in range(self._plan.rounds):
            keys = [one.key for one in TARGETS] + [LIMIT]
            for key in keys[:: -1 if turn % 2 else 1]:
                name = name_of(self._size, key, turn)
                known = records.get(name)
                if known is not None and ("problem" not in known or "optional" in known):
                    continue
                log.info("%s: %s items, round %d", key, f"{self._size:,}", turn + 1)
                found = self._limit() if key == LIMIT else self._target(key)
                records.put(name, found)
                if "problem" in found:
                    log.warning("%s came to nothing: %s", key, found["problem"])
                    failed += "optional" not in found
        return failed

    def _remember(self, records: Records) -> None:
        """Give the others the kind of index that Lookalike chose in a run that was interrupted."""
        for turn in range(self._plan.rounds):
            record = records.get(name_of(self._size, Lookalike.key, turn))
            if record is not None and "index" in record:
                self._folder.mkdir(parents=True, exist_ok=True)
                put_kind(self._folder, record["index"])

    def _target(self, key: str) -> Record:
        target = next(one for one in TARGETS if one.key == key)
        place = self._place(target)
        if missing := target.missing(place):
            return {"problem": missing, "optional": True}
        try:
            if not self._ready(place):
                found = self._fill(target, place)
                if found is not None:
                    return found
            with target.running(place) as running:
                return self._measure(target, running)
        except _PROBLEMS as error:
            return {"problem": str(error) or "it took too long"}

    @staticmethod
    def _ready(place: Place) -> bool:
        """Say whether it has been filled and tuned, and read how."""
        kept = _kept(place)
        if kept.is_file():
            place.state.update(json.loads(kept.read_text(encoding="utf-8")))
        return kept.is_file()

    def _fill(self, target: Target, place: Place) -> Record | None:
        """Start it without data, fill it, and tune it until its recall is enough.

        Returns:
            Its figures where there is one round only, and nothing to start again for; else None.
        """
        vectors, _, _ = self._data()
        with target.running(place) as running:
            began = time.perf_counter()
            target.fill(running, vectors)
            place.state.setdefault("filled_s", time.perf_counter() - began)
            if target.key == Lookalike.key:
                put_kind(place.shared, place.state["index"])
            if not target.restarts:
                self._tune(target, running)
                if self._plan.rounds == 1:
                    return self._measure(target, running)
        if target.restarts:
            self._tune_by_starts(target, place)
        _kept(place).write_text(json.dumps(place.state), encoding="utf-8")
        return None

    def _tune(self, target: Target, running: Running) -> None:
        vectors, _, _ = self._data()
        for effort in target.efforts(running):
            target.tune(running, effort, vectors)
            running.place.state["effort"] = effort
            if self._recall(target, running) >= RECALL:
                break

    def _tune_by_starts(self, target: Target, place: Place) -> None:
        """Set each effort in one run of the server, and search in the next."""
        vectors, _, _ = self._data()
        for effort in EFFORTS:
            with target.running(place) as running:
                target.tune(running, effort, vectors)
            place.state["effort"] = effort
            with target.running(place) as running:
                if self._recall(target, running) >= RECALL:
                    break

    def _recall(self, target: Target, running: Running) -> float:
        vectors, queries, truth = self._data()
        return recall(vectors, queries, truth, target.found(running, queries))

    def _measure(self, target: Target, running: Running) -> Record:
        """Return its loads, as the figures of all servers are kept."""
        _, queries, _ = self._data()
        queries = queries[: self._plan.queries]
        share = self._recall(target, running)
        if share < RECALL:
            return {"problem": f"its recall is {share:.3f} at the most that could be asked of it"}
        loads: Record = {}
        time.sleep(self._plan.rest_s)
        for clients in CLIENTS:
            target.load(running, queries, clients=clients, seconds=self._plan.warm_up_s)
            before = running.tree.cpu_s()
            load = target.load(running, queries, clients=clients, seconds=self._plan.timed_s)
            cpu = (running.tree.cpu_s() - before) / self._plan.timed_s
            loads[str(clients)] = {**_figures(load), "server_cpu": cpu}
        found = {"loads": loads, "recall": share, "bytes": running.tree.memory_bytes()}
        found |= {"about": target.about(running), "filled_s": running.place.state["filled_s"]}
        if target.key == Lookalike.key:
            found["index"] = running.place.state["index"]
            found["batches"] = {str(clients): self._batches(running, clients) for clients in CLIENTS}
        return found

    def _batches(self, running: Running, clients: int) -> Record:
        """Send batches of 64 in safetensors; figures are of queries, not of requests."""
        queries = self._data()[1][: self._plan.queries]
        size = min(limit.BATCH, len(queries))
        starts = range(0, len(queries) - size + 1, size)
        fields = {"json": json.dumps({"k": K, "include": []})}
        bodies = (save({"queries": queries[start : start + size]}, fields) for start in starts)
        listed = put_bodies(bodies, running.place.folder.with_suffix(".batches"))
        form = Form("safetensors", SEARCH, SAFETENSORS, None, (), SAFETENSORS)
        url = f"http://127.0.0.1:{running.port}"
        run_load(url, form, {False: listed}, clients=clients, seconds=self._plan.warm_up_s)
        load = run_load(url, form, {False: listed}, clients=clients, seconds=self._plan.timed_s)
        return {**_figures(load), "per_s": load.images_per_s * size}

    def _limit(self) -> Record:
        """Measure the loop on the bare handler's index."""
        vectors, queries, truth = self._data()
        place = self._place(next(one for one in TARGETS if isinstance(one, Bare)))
        path, asked = str(build(place.shared, place.vectors)), str(self._folder / "queries.npy")
        flat = kind_of(place.shared)["kind"] == "flat"
        try:
            for effort in (0,) if flat else EFFORTS:
                rows = self._children.run(limit.found, path, effort, asked, timeout_s=_TIMEOUT_S)["rows"]
                share = recall(vectors, queries, truth, rows)
                if share >= RECALL:
                    break
            load, times = str(self._folder / "load.npy"), (CLIENTS, float(self._plan.timed_s))
            found = self._children.run(limit.measure, path, effort, load, *times, timeout_s=_TIMEOUT_S)
        except _PROBLEMS as error:
            return {"problem": str(error) or "it took too long"}
        return {**found, "recall": share, "about": f"efSearch {effort}" if effort else "flat"}

    def _place(self, target: Target) -> Place:
        self._data()
        folder = self._folder / target.key
        return Place(folder, self._peers, self._python, self._folder / "vectors.npy", self._folder)

    def _data(self) -> tuple[Floats, Floats, Truth]:
        """Return vectors, queries and the exact answers to them; made once."""
        if self._made is None:
            vectors = make_vectors(self._size, _DIMENSION)
            queries = make_queries(self._plan.checked, self._size, _DIMENSION)
            self._folder.mkdir(parents=True, exist_ok=True)
            np.save(self._folder / "vectors.npy", vectors)
            np.save(self._folder / "queries.npy", queries)
            np.save(self._folder / "load.npy", queries[: self._plan.queries])
            self._made = vectors, queries, exact(vectors, queries, K)
        return self._made


def _figures(load: Load) -> dict[str, Any]:
    return {
        "per_s": load.images_per_s,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "failed": load.refused + load.broken,
        "generator_cpu": load.generator_cpu,
    }


def _kept(place: Place) -> Path:
    return place.folder.with_suffix(".json")
