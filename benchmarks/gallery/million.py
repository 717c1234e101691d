"""A million items: written, indexed, held, searched beside an import, and found again after a SIGKILL."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.core.figures import as_bytes
from benchmarks.gallery.client import SAFETENSORS, items_bodies, query_body, send_all
from benchmarks.gallery.data import Floats, exact, make_queries, make_vectors, recall
from benchmarks.gallery.figures import Criterion, Part, resident_bytes
from benchmarks.gallery.ours import ITEMS, create, describe, found, serve_command, settled
from benchmarks.gallery.plan import CLIENTS, RECALL, K, Plan
from benchmarks.gallery.serving import run_bodies, serving
from benchmarks.gallery.targets import Place, Running, rows_of, wait_for
from benchmarks.serving.load import Load
from benchmarks.serving.processes import free_port, started

__all__ = ["Scale", "measure", "part"]

_WRITERS = 4
_BESIDE = 4  # clients that search while an import runs
_MOST_TIMES = 3.0
_COLD_S = 10.0


@dataclass(slots=True)
class Scale:
    """What a large collection came to.

    Attributes:
        items, dimension: of it.
        index: in words.
        ingest_per_s: items a second, each answered after it was durable.
        build_s: from the last answer to an index that has all but a few.
        bytes_per_item: resident memory over that of the empty server.
        disk_bytes: as it says itself.
        recall: of K.
        loads: (clients, searches a second, p99 in ms).
        quiet_p99_ms, importing_p99_ms: of searches by four clients, without and beside an import.
        import_per_s: items a second beside the searches.
        ready_s: from the start after a SIGKILL until ready and the first right answer.
    """

    items: int
    dimension: int
    index: str = ""
    ingest_per_s: float = 0.0
    build_s: float = 0.0
    bytes_per_item: float = 0.0
    disk_bytes: int = 0
    recall: float = 0.0
    loads: list[tuple[int, float, float]] = field(default_factory=list)
    quiet_p99_ms: float = 0.0
    importing_p99_ms: float = 0.0
    import_per_s: float = 0.0
    ready_s: float = 0.0


def measure(plan: Plan, folder: Path, items: int, dimension: int) -> Part:
    """Fill a collection, measure it, kill its server and start another on what is there."""
    scale = Scale(items, dimension)
    data = folder / f"million-{dimension}"
    queries = make_queries(plan.checked, items, dimension)
    with serving(data) as running:
        vectors = make_vectors(items, dimension)
        _ingest(scale, running, vectors, plan)
        truth = exact(vectors, queries, K)
        answers = [rows_of(one) for one in found(running.port, queries)]
        scale.recall = recall(vectors, queries, truth, answers)
        del vectors
        _search(scale, running, queries[: plan.queries], plan)
        expected = found(running.port, queries[:1])
        os.kill(running.tree.pids()[0], signal.SIGKILL)
    scale.ready_s = _start_again(data, queries[:1], expected)
    return part(scale)


def _ingest(scale: Scale, running: Running, vectors: Floats, plan: Plan) -> None:
    pid = running.tree.pids()[0]
    create(running.port, scale.dimension)
    empty = resident_bytes(pid)
    bodies = items_bodies(vectors, plan.batch)
    took = send_all(running.port, ITEMS, bodies, clients=_WRITERS, content_type=SAFETENSORS)
    scale.ingest_per_s = scale.items / took
    began = time.perf_counter()
    scale.index = describe(settled(running.port))
    scale.build_s = time.perf_counter() - began
    scale.bytes_per_item = (resident_bytes(pid) - empty) / scale.items
    described = wait_for(running, "GET", "/v1/collections/bench")
    scale.disk_bytes = described["disk_bytes"]


def _search(scale: Scale, running: Running, queries: Floats, plan: Plan) -> None:
    bodies = [query_body(one[None], K) for one in queries]
    folder = running.place.folder.with_suffix(".queries")
    seconds = plan.timed_s
    for clients in CLIENTS:
        load = run_bodies(running, bodies, folder, clients=clients, seconds=seconds)
        scale.loads.append((clients, load.images_per_s, load.p99_ms))
    scale.quiet_p99_ms = run_bodies(running, bodies, folder, clients=_BESIDE, seconds=2 * seconds).p99_ms
    more = make_vectors(plan.imported, scale.dimension, first=scale.items)
    over, spent, sent = threading.Event(), list[float](), list[int]()

    def coming() -> Iterator[bytes]:
        for turn in count():  # the same vectors again, as other items, for as long as the searches last
            for body in items_bodies(more, plan.batch, first=scale.items + turn * len(more)):
                if over.is_set():
                    return
                sent.append(plan.batch)
                yield body

    def write() -> None:
        spent.append(send_all(running.port, ITEMS, coming(), clients=1, content_type=SAFETENSORS))

    writer = threading.Thread(target=write)
    writer.start()
    beside: Load = run_bodies(running, bodies, folder, clients=_BESIDE, seconds=2 * seconds)
    over.set()
    writer.join()
    scale.importing_p99_ms = beside.p99_ms
    scale.import_per_s = sum(sent) / spent[0]


def _start_again(data: Path, query: Floats, expected: Sequence[Sequence[str]]) -> float:
    """Return how long it takes from the start until the query has the answer that it had.

    Raises:
        RuntimeError: it has another.
    """
    port = free_port()
    command = serve_command(data, port)
    began = time.perf_counter()
    with started(command, {}, port, data.with_suffix(".again.log")) as tree:
        wait_for(Running(tree, port, Place(data, data, "", data, data)), "GET", "/health/ready")
        answer = found(port, query)
        took = time.perf_counter() - began
        if not set(expected[0]) & set(answer[0]):
            raise RuntimeError(f"after the kill it finds {answer[0]}, and before it found {expected[0]}")
    return took


def part(scale: Scale) -> Part:
    """Judge what was found."""
    times = scale.importing_p99_ms / scale.quiet_p99_ms
    criteria = [
        Criterion(f"recall at least {RECALL}", f"{scale.recall:.4f}", scale.recall >= RECALL),
        Criterion(
            f"p99 of searches beside an import at most {_MOST_TIMES:g} times that without",
            f"{times:.2f} times",
            times <= _MOST_TIMES,
        ),
        Criterion(
            f"ready within {_COLD_S:g} s after a SIGKILL", f"{scale.ready_s:.1f} s", scale.ready_s <= _COLD_S
        ),
    ]
    rows = [
        ["index", scale.index],
        ["items/s in, durable", f"{scale.ingest_per_s:,.0f}"],
        ["until the index was built after the last of them", f"{scale.build_s:.1f} s"],
        ["resident memory an item, mapped files included", f"{scale.bytes_per_item:,.0f} bytes"],
        ["on disk", as_bytes(scale.disk_bytes)],
        *(
            [f"searches, {clients} client{'s' if clients > 1 else ''}", f"{speed:,.0f}/s, p99 {p99:.1f} ms"]
            for clients, speed, p99 in scale.loads
        ),
        [f"p99, {_BESIDE} clients", f"{scale.quiet_p99_ms:.1f} ms"],
        [
            f"p99, {_BESIDE} clients, beside an import",
            f"{scale.importing_p99_ms:.1f} ms, and {scale.import_per_s:,.0f} items/s in",
        ],
        ["ready after a SIGKILL", f"{scale.ready_s:.1f} s"],
    ]
    told = (
        f"{scale.items:,} items of D = {scale.dimension}, in batches of safetensors by {_WRITERS} clients; "
        f"K = {K}. "
        "The start after the SIGKILL is timed from the command to the first right answer; the files are "
        "in the system's cache."
    )
    return Part(f"{scale.items:,} x {scale.dimension}", told, criteria, ["", "figure"], rows)
