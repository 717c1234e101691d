"""Durable writes: batches in safetensors, and single items by sixteen clients with their fsyncs counted."""

import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.gallery.client import SAFETENSORS, items_bodies, send_all
from benchmarks.gallery.data import Floats, make_vectors
from benchmarks.gallery.figures import Criterion, Part
from benchmarks.gallery.ours import ITEMS, create
from benchmarks.gallery.plan import Plan
from benchmarks.gallery.serving import run_bodies, serving

__all__ = ["Writes", "measure", "part", "syncs_between"]

_DIMENSION = 128
_CLIENTS = 16
_BATCHES_PER_S = 10_000
_SINGLE_PER_S = 500
_CALL = re.compile(r"^\d+\s+(\d+\.\d+) (?:fsync|fdatasync|sync_file_range)\(", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Writes:
    """What writing came to.

    Attributes:
        batches: (clients, vectors a second).
        single_per_s, single_p99_ms: upserts of one item.
        traced_upserts, syncs: about how many upserts there were under the tracer, and how many flushes
            meanwhile; None without it.
    """

    batches: list[tuple[int, float]]
    single_per_s: float
    single_p99_ms: float
    traced_upserts: int | None
    syncs: int | None


def measure(plan: Plan, folder: Path) -> Part:
    """Write into servers of their own; the tracer slows its server, so its rates do not count."""
    vectors = make_vectors(plan.written, _DIMENSION)
    batches = []
    for clients in (1, 4):
        with serving(folder / f"writes-{clients}") as running:
            create(running.port, _DIMENSION)
            bodies = items_bodies(vectors, plan.batch)
            took = send_all(running.port, ITEMS, bodies, clients=clients, content_type=SAFETENSORS)
            batches.append((clients, len(vectors) / took))
    asked = _upserts(vectors[: plan.upserts])
    with serving(folder / "writes-single") as running:
        create(running.port, _DIMENSION)
        load = run_bodies(
            running, asked, folder / "upserts", clients=_CLIENTS, seconds=plan.timed_s, path=ITEMS
        )
    traced = _traced(asked, folder, plan.timed_s) if shutil.which("strace") else (None, None)
    return part(Writes(batches, load.images_per_s, load.p99_ms, *traced))


def _upserts(vectors: Floats) -> list[bytes]:
    return [
        orjson.dumps({"items": [{"id": f"s{row}", "vector": vector}]}, option=orjson.OPT_SERIALIZE_NUMPY)
        for row, vector in enumerate(vectors)
    ]


def _traced(asked: list[bytes], folder: Path, seconds: int) -> tuple[int, int]:
    """Return how many upserts were answered, and how often the server flushed a file meanwhile."""
    log = folder / "strace.log"
    calls = "trace=fsync,fdatasync,sync_file_range"
    tracer = ("strace", "--seccomp-bpf", "-f", "-ttt", "-e", calls, "-o", str(log.resolve()))
    with serving(folder / "writes-traced", *tracer) as running:
        create(running.port, _DIMENSION)
        began = time.time()
        load = run_bodies(running, asked, folder / "upserts", clients=_CLIENTS, seconds=seconds, path=ITEMS)
        ended = time.time()
    # The warm-up of a second is flushed as well, and about as fast.
    upserts = round(load.images_per_s * (seconds + 1))
    return upserts, syncs_between(
        log.read_text(encoding="utf-8", errors="replace").splitlines(), began, ended
    )


def syncs_between(lines: Iterable[str], began: float, ended: float) -> int:
    """Return how many flushes a log of strace -f -ttt has that began between two times since the epoch."""
    times = (float(found[1]) for line in lines if (found := _CALL.match(line)))
    return sum(began <= at <= ended for at in times)


def part(writes: Writes) -> Part:
    """Judge what was found."""
    best = max(speed for _, speed in writes.batches)
    criteria = [
        Criterion(
            f"at least {_BATCHES_PER_S:,} vectors/s in batches", f"{best:,.0f}/s", best >= _BATCHES_PER_S
        ),
        Criterion(
            f"at least {_SINGLE_PER_S} single upserts/s by {_CLIENTS} clients",
            f"{writes.single_per_s:,.0f}/s",
            writes.single_per_s >= _SINGLE_PER_S,
        ),
    ]
    rows = [
        *(
            [f"batches, {clients} client{'s' if clients > 1 else ''}", f"{speed:,.0f} vectors/s"]
            for clients, speed in writes.batches
        ),
        [
            f"single upserts, {_CLIENTS} clients",
            f"{writes.single_per_s:,.0f}/s, p99 {writes.single_p99_ms:.1f} ms",
        ],
    ]
    if writes.syncs is None or writes.traced_upserts is None:
        rows.append(["fsyncs", "not counted: there is no strace"])
    else:
        share = writes.traced_upserts / max(writes.syncs, 1)
        met = bool(writes.syncs) and share <= _CLIENTS
        aim = f"each fsynced: at most {_CLIENTS} upserts, which wait together, share one"
        criteria.append(Criterion(aim, f"{share:.1f} upserts an fsync", met))
        said = f"about {writes.traced_upserts:,} upserts and {writes.syncs:,} fsyncs or fdatasyncs"
        rows.append(["under strace", said])
    told = (
        f"Items of D = {_DIMENSION}, each request answered after it is durable: batches of safetensors, and "
        f"single items in JSON by {_CLIENTS} clients. The fsyncs are counted in a run of its own under "
        "`strace -f --seccomp-bpf`, which slows it. Clients wait for their answers, so that at most as many "
        "upserts as there are clients can have been made durable by one fsync."
    )
    return Part("Durable writes", told, criteria, ["", "figure"], rows)
