"""Measure what REST adds to distances and losses, and write it into docs/benchmarks.md.

    python -m benchmarks.rest_numeric            as make bench-rest
    python -m benchmarks.rest_numeric --quick    a few rounds; prints, and leaves the document as it is

A real server on the loopback interface and the same calls in this process take turns. The server is started
by the helper of the system tests, so that there is one way to start one: a free port, a log, a bounded life.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.core.batches import labelled_batch, rows_of_metric
from benchmarks.core.cases import MARGIN, Case
from benchmarks.core.document import put_section
from benchmarks.core.figures import table
from benchmarks.core.machine import describe_machine, describe_versions
from benchmarks.rest_client import FORMATS, Arrays, Client, Format, Spread, Stopwatch, differing
from models.distances import pairwise
from models.losses import batch_triplet_loss
from service.cpus import available_cpus
from tests.system.serving import running_server

__all__ = ["Request", "ask", "measure", "render", "requests", "verdict"]

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_ROUNDS = 30
_QUICK_ROUNDS = 3
_WARM_UP = 3
_ALONE = "in-process"
_COLUMNS = ["request", "over", "ms", "more than in-process", "client's packing, ms", "MB sent", "MB received"]

_HOW = """\
## Distances and losses over REST

{date}, `make bench-rest`. {machine}. {versions}.

`lookalike serve` as it comes, and a client on the loopback interface that sends one request at a time.
Server and in-process call take turns, each while the other has nothing to do, and each round in the other
order; both compute in a worker thread, with {threads} threads of torch. Medians of {rounds} rounds, of
{json_rounds} for JSON, with the quartiles in brackets: a difference within them may be noise, and where a
request is faster than the call in-process, it is. The time of a request is from its first byte sent to the
last byte of its answer received, on a connection opened before; what the client itself spends on packing the
one and unpacking the other stands beside it. In every answer, {compared} are compared with those in-process.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A case that is asked for over REST, and the same computation in this process.

    Attributes:
        title: what it computes.
        case: the size, and the inputs with it.
        path: where it is asked for.
        fields: of the request, beside the arrays.
        arrays: of the request.
        call: computes it from the arrays; returns what the answer must have, by name.
        factor, extra_ms: aimed at is at most factor times the in-process call, plus extra_ms.
    """

    title: str
    case: Case
    path: str
    fields: Mapping[str, Any]
    arrays: Arrays
    call: Callable[[Arrays], Arrays]
    factor: float = 1.0
    extra_ms: float = 0.0

    @property
    def aim(self) -> str:
        """Return what is aimed at in words."""
        times = _ALONE if self.factor == 1 else f"{self.factor:g} x {_ALONE}"
        return f"{times} + {self.extra_ms:g} ms" if self.extra_ms else times

    def allowed_ms(self, alone_ms: float) -> float:
        """Return how long a request may take, beside an in-process call."""
        return self.factor * alone_ms + self.extra_ms


def requests(distances: Case, loss: Case) -> list[Request]:
    """Return the two requests of the aim, at given sizes."""
    x, y = rows_of_metric(distances, "cpu")
    embeddings, labels = labelled_batch(loss, "cpu")
    return [
        Request(
            f"Distances, {distances.sizes}",
            distances,
            "/v1/distances",
            {"metric": distances.metric},
            {"x": x.numpy(), "y": y.numpy()},
            _distances,
            extra_ms=20,
        ),
        Request(
            f"Batch-all with gradients, {loss.sizes}",
            loss,
            "/v1/losses/batch",
            {"mining": "all", "margin": MARGIN, "gradients": True},
            {"embeddings": embeddings.numpy(), "labels": labels.numpy()},
            _loss,
            factor=1.3,
        ),
    ]


def _distances(arrays: Arrays) -> Arrays:
    with torch.inference_mode():
        return {"distances": pairwise(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])).numpy()}


def _loss(arrays: Arrays) -> Arrays:
    embeddings = torch.from_numpy(arrays["embeddings"]).requires_grad_()
    result = batch_triplet_loss(embeddings, torch.from_numpy(arrays["labels"]), margin=MARGIN)
    (gradients,) = torch.autograd.grad(result.loss, embeddings)
    return {"loss": result.loss.detach().numpy(), "gradients": gradients.numpy()}


def measure(request: Request, url: str, rounds: int) -> Stopwatch:
    """Let both sides take turns.

    Raises:
        RuntimeError: an answer is an error, or not what the call in this process returns.
    """
    watch = Stopwatch()
    clients = {one.name: Client(url, one.media_type) for one in FORMATS}
    # The server computes in a worker thread; so does the other side, or it would be spared the way there.
    with ThreadPoolExecutor(1) as thread:

        def alone() -> Arrays:
            return thread.submit(request.call, request.arrays).result()

        expected = alone()
        for turn in range(-_WARM_UP, rounds):
            if turn == 0:
                watch.forget()
            due = [one for one in FORMATS if turn % one.every == 0]
            if turn % 2:
                watch.time(_ALONE, alone)
            for one in due:
                ask(request, one, clients[one.name], watch, expected)
            if turn % 2 == 0:
                watch.time(_ALONE, alone)
    return watch


def ask(request: Request, how: Format, client: Client, watch: Stopwatch, expected: Arrays) -> None:
    """Ask once and time it; the connection is opened before.

    Raises:
        RuntimeError: the answer is an error, or differs from what is expected.
    """
    content = watch.time(f"{how.name}, pack", how.pack, request.fields, request.arrays)
    client.connect()
    body = watch.time(how.name, client.post, request.path, content)
    found = watch.time(f"{how.name}, unpack", how.unpack, body, list(expected))
    wrong = differing(found, expected)
    if wrong:
        raise RuntimeError(f"{request.path} over {how.name}: {', '.join(wrong)} differ from in-process.")
    watch.bytes[f"{how.name}, sent"], watch.bytes[f"{how.name}, received"] = len(content), len(body)


def render(measured: Sequence[tuple[Request, Stopwatch]], threads: int) -> str:
    """Return the section as Markdown."""
    _, watch = measured[0]
    how = _HOW.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=describe_machine("cpu", threads),
        versions=describe_versions(),
        threads=threads,
        rounds=watch.count(_ALONE),
        json_rounds=watch.count("JSON"),
        compared="distances, loss and gradients",
    )
    rows = [row for request, watch in measured for row in _rows_of(request, watch)]
    verdicts = "\n".join(verdict(*one) for one in measured)
    return f"{how}\n{table(_COLUMNS, rows)}\n\nWhat was aimed at, by the medians:\n\n{verdicts}\n"


def _rows_of(request: Request, watch: Stopwatch) -> list[list[str]]:
    alone = watch.spread(_ALONE)
    rows = [[request.title, _ALONE, _as_text(alone), "", "", "", ""]]
    for one in FORMATS:
        taken = watch.spread(one.name)
        packing = watch.spread(f"{one.name}, pack").median + watch.spread(f"{one.name}, unpack").median
        more = f"{taken.median - alone.median:+.1f} ms, {taken.median / alone.median:.2f} x"
        sent, received = (f"{watch.bytes[f'{one.name}, {way}'] / 1e6:.1f}" for way in ("sent", "received"))
        rows.append(["", one.name, _as_text(taken), more, f"{packing:.1f}", sent, received])
    return rows


def _as_text(spread: Spread) -> str:
    return f"{spread.median:.1f} ({spread.low:.1f} to {spread.high:.1f})"


def verdict(request: Request, watch: Stopwatch) -> str:
    """Return whether the aim is met, in a sentence."""
    taken = watch.spread("safetensors")
    allowed = request.allowed_ms(watch.spread(_ALONE).median)
    word = "met" if taken.median <= allowed else "**missed**"
    beside = f"{request.aim} = {allowed:.1f} ms over safetensors"
    return f"- {request.title}: at most {beside}; {_as_text(taken)} ms: {word}."


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a few rounds; prints only")
    quick = parser.parse_args().quick
    threads = available_cpus()  # as many as the server takes
    torch.set_num_threads(threads)
    asked = requests(Case("metrics", 1000, 512, backward=False), Case("batch_all", 2048, 512, 4))
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "data") as server:
        rounds = _QUICK_ROUNDS if quick else _ROUNDS
        measured = [(request, measure(request, server.url, rounds)) for request in asked]
    text = render(measured, threads)
    sys.stdout.write(text)
    if not quick:
        put_section(_DOCUMENT, "bench-rest", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
