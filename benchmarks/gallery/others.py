"""The other servers: a bare handler, Chroma, Milvus by its REST, and PostgreSQL with pgvector."""

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.gallery.client import Rest, ask
from benchmarks.gallery.data import Floats, batches
from benchmarks.gallery.faiss_index import build, built_s, kind_of
from benchmarks.gallery.plan import K
from benchmarks.gallery.targets import EFFORTS, HttpTarget, Place, Running, wait_for

__all__ = ["Bare", "Chroma", "M", "Milvus"]

M, _EF_CONSTRUCTION = 16, 100
_M_MILVUS = 32  # a better graph, since its searches cannot be widened as the others' are
_CHROMA = "/api/v2/tenants/default_tenant/databases/default_database/collections"
_FILLED_S = 1_200
_LOADED_S = 600.0


class Bare(HttpTarget):
    """FastAPI and FAISS in one file, with the kind of index that Lookalike chose."""

    title = "FastAPI + FAISS, bare"
    key = "bare"

    def command(self, place: Place, port: int) -> list[str]:
        """Return what starts it; the index is built first, where it is not there yet."""
        index = build(place.shared, place.vectors)
        effort = str(place.state.get("effort", 0))
        return [place.python, "-m", "benchmarks.gallery.peers.bare_app", str(port), str(index), effort]

    def wait(self, running: Running) -> None:
        """Wait for an answer."""
        wait_for(running, "GET", "/openapi.json")

    def fill(self, running: Running, vectors: Floats) -> None:
        """Do nothing: it has read the index, and what took its time was building that."""
        running.place.state["filled_s"] = built_s(running.place.shared)

    def efforts(self, running: Running) -> Sequence[int]:
        """Return values of efSearch."""
        return EFFORTS if kind_of(running.place.shared)["kind"] == "hnsw" else ()

    def tune(self, running: Running, effort: int, vectors: Floats) -> None:
        """Search with this efSearch."""
        ask(running.port, "POST", "/effort", {"effort": effort})

    def path(self, running: Running) -> str:
        """Return the path of a search."""
        return "/search"

    def body(self, query: Floats, effort: int) -> dict[str, Any]:
        """Return a search for the (D,) query."""
        return {"vector": query, "k": K}

    def ids(self, answer: Any) -> list[str]:
        """Return the ids in an answer."""
        found: list[str] = answer["ids"]
        return found

    def about(self, running: Running) -> str:
        """Return its index in words."""
        kind = kind_of(running.place.shared)
        if kind["kind"] == "flat":
            return "flat"
        return f"hnsw, m {kind['m']}, ef_search {running.place.state.get('effort')}"


class Chroma(HttpTarget):
    """Chroma's own server."""

    title = "Chroma"
    key = "chroma"
    restarts = True  # it answers that it has taken ef_search, and goes on with the one that it has loaded

    def command(self, place: Place, port: int) -> list[str]:
        """Return what starts it."""
        program = place.peers / "chroma" / "bin" / "chroma"
        given = ["--path", str(place.folder.resolve()), "--host", "127.0.0.1", "--port", str(port)]
        return [str(program.absolute()), "run", *given]

    def environment(self, place: Place) -> dict[str, str]:
        """Return the variables that keep it from reporting to anybody."""
        return {"ANONYMIZED_TELEMETRY": "False", "CHROMA_OTEL_COLLECTION_ENDPOINT": ""}

    def wait(self, running: Running) -> None:
        """Wait for its heartbeat."""
        wait_for(running, "GET", "/api/v2/heartbeat")

    def fill(self, running: Running, vectors: Floats) -> None:
        """Insert every row, a thousand at a time."""
        hnsw = {"space": "cosine", "max_neighbors": M, "ef_construction": _EF_CONSTRUCTION}
        made = ask(running.port, "POST", _CHROMA, {"name": "bench", "configuration": {"hnsw": hnsw}})
        running.place.state["id"] = made["id"]
        with Rest(running.port) as rest:
            for part in batches(len(vectors), 1_000):
                ids = [f"p{row}" for row in range(part.start, part.stop)]
                rest.ask("POST", f"{_CHROMA}/{made['id']}/upsert", {"ids": ids, "embeddings": vectors[part]})

    def tune(self, running: Running, effort: int, vectors: Floats) -> None:
        """Set ef_search of the collection."""
        changed = {"new_configuration": {"hnsw": {"ef_search": effort}}}
        ask(running.port, "PUT", f"{_CHROMA}/{running.place.state['id']}", changed)

    def path(self, running: Running) -> str:
        """Return the path of a search."""
        return f"{_CHROMA}/{running.place.state['id']}/query"

    def body(self, query: Floats, effort: int) -> dict[str, Any]:
        """Return a search for the (D,) query."""
        return {"query_embeddings": [query], "n_results": K, "include": ["distances"]}

    def ids(self, answer: Any) -> list[str]:
        """Return the ids in an answer."""
        found: list[str] = answer["ids"][0]
        return found


class Milvus(HttpTarget):
    """Milvus 2.3.5, a standalone server, by its REST."""

    title = "Milvus 2.3.5, REST"
    key = "milvus"

    def command(self, place: Place, port: int) -> list[str]:
        """Return what starts it."""
        program = place.peers / "milvus" / "bin" / "milvus-server"
        return [
            *(str(program.absolute()), "--data", str(place.folder.resolve())),
            *("--proxy-port", str(port)),
        ]

    def wait(self, running: Running) -> None:
        """Wait until it answers, and has loaded what it has."""
        if running.place.state:
            self._loaded(running)
        else:
            wait_for(running, "GET", "/v1/vector/collections")

    def fill(self, running: Running, vectors: Floats) -> None:
        """Insert every row by its own client, build the index and load it."""
        place = running.place
        python = str((place.peers / "milvus" / "bin" / "python").absolute())
        script = "benchmarks/gallery/peers/milvus_load.py"
        given = [str(running.port), str(place.vectors.resolve()), str(_M_MILVUS), str(_EF_CONSTRUCTION)]
        done = subprocess.run(
            [python, script, *given], capture_output=True, text=True, timeout=_FILLED_S, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
            raise RuntimeError(f"it could not be filled: {last}")
        place.state["filled"] = len(vectors)
        self._loaded(running)

    def efforts(self, running: Running) -> Sequence[int]:
        """Return limits: its REST has no parameter for ef, which is as large as the limit."""
        return K, *EFFORTS

    def tune(self, running: Running, effort: int, vectors: Floats) -> None:
        """Do nothing here: the limit comes with each search."""

    def path(self, running: Running) -> str:
        """Return the path of a search."""
        return "/v1/vector/search"

    def body(self, query: Floats, effort: int) -> dict[str, Any]:
        """Return a search for the (D,) query."""
        return {"collectionName": "bench", "vector": query, "limit": effort, "outputFields": ["id"]}

    def ids(self, answer: Any) -> list[str]:
        """Return the first K ids in an answer; it refuses with the status 200 as well."""
        if "data" not in answer:
            raise RuntimeError(f"it refused: {json.dumps(answer)[:200]}")
        return [one["id"] for one in answer["data"][:K]]

    def about(self, running: Running) -> str:
        """Return its index in words."""
        return f"HNSW, M {_M_MILVUS}, limit {running.place.state.get('effort')}"

    @staticmethod
    def _loaded(running: Running) -> None:
        """Wait until the collection is in memory: after a start it takes a while.

        Raises:
            RuntimeError: it is not within ten minutes.
        """
        deadline = time.monotonic() + _LOADED_S
        while time.monotonic() < deadline:
            state = wait_for(running, "GET", "/v1/vector/collections/describe?collectionName=bench")
            if state.get("data", {}).get("load") == "LoadStateLoaded":
                return
            time.sleep(0.2)
        raise RuntimeError(f"it did not load its collection: {json.dumps(state)[:200]}")
