"""Measure what REST adds to distances and losses, and write it into docs/benchmarks.md.

    python -m benchmarks.rest_numeric               as make bench-rest
    python -m benchmarks.rest_numeric --rounds 3    a quick look; prints, and leaves the document as it is

A real server on the loopback interface and the same calls in this process take turns.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import orjson
import torch
from safetensors.numpy import load, save

from benchmarks.core.document import put_section
from benchmarks.core.machine import describe_machine, describe_versions
from models.distances import pairwise
from models.losses import batch_triplet_loss
from service.cpus import available_cpus
from tests.system.serving import Server, running_server

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_ROUNDS = 30
_JSON_EVERY = 3  # rounds: its figures are larger, and so is the time that they take
_WARM_UP = 3
_PAUSE_S = (
    0.02  # OpenMP's threads of the one side spin for a moment after their work, and would slow the other
)

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and the same computation in this process.

    Attributes:
        title: what it computes.
        path: where it is asked for.
        fields: of the request, beside the arrays.
        arrays: of the request.
        call: computes it from the arrays, and returns the array that the answer has under `answer`.
        answer: the answer's field.
        target: what was aimed at, in words; then what REST may take beside an in-process call, in ms.
        allowed_ms: as said.
    """

    title: str
    path: str
    fields: Mapping[str, Any]
    arrays: Arrays
    call: Callable[[Arrays], npt.NDArray[Any]]
    answer: str
    target: str
    allowed_ms: Callable[[float], float]


class Client:
    """One keep-alive connection; a server that has closed it meanwhile is connected to anew."""

    def __init__(self, server: Server, media_type: str) -> None:
        url = httpx2.URL(server.url)
        self._connection = http.client.HTTPConnection(url.host, url.port)
        self._headers = {"content-type": media_type, "accept": media_type}

    def post(self, path: str, content: bytes) -> bytes:
        """Send a request; return the answer's body."""
        try:
            return self._post(path, content)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()  # it was idle for longer than the server keeps connections
            return self._post(path, content)

    def _post(self, path: str, content: bytes) -> bytes:
        self._connection.request("POST", path, content, self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path} answered {answer.status}: {body[:500]!r}")
        return body


@dataclass(frozen=True, slots=True)
class Format:
    """How a client writes requests and reads answers."""

    name: str
    media_type: str
    pack: Callable[[Mapping[str, Any], Arrays], bytes]
    unpack: Callable[[bytes, str], npt.NDArray[Any]]


FORMATS = (
    Format(
        "safetensors",
        "application/x-safetensors",
        lambda fields, arrays: save(arrays, {"json": json.dumps(fields)}),
        lambda content, name: load(content)[name],
    ),
    Format(
        "JSON",
        "application/json",
        lambda fields, arrays: orjson.dumps({**fields, **arrays}, option=orjson.OPT_SERIALIZE_NUMPY),
        lambda content, name: np.array(orjson.loads(content)[name], dtype=np.float32),
    ),
)


class Stopwatch:
    """Seconds by name, and bytes by name."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self.bytes: dict[str, int] = {}

    def time(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do work after a pause, and remember how long it took."""
        time.sleep(_PAUSE_S)
        started = time.perf_counter()
        outcome = work(*arguments)
        self._seconds[name].append(time.perf_counter() - started)
        return outcome

    def median_ms(self, name: str) -> float:
        """Return the median time of what bears this name."""
        return statistics.median(self._seconds[name]) * 1000

    def forget(self) -> None:
        """Forget the times of the warm-up."""
        self._seconds.clear()


def cases() -> list[Case]:
    """Return the two requests of the target."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2048, 512)).astype(np.float32)
    return [
        Case(
            "Distances, 1,000 x 1,000, D = 512",
            "/v1/distances",
            {"metric": "euclidean"},
            {"x": rows[:1000], "y": rows[1000:2000]},
            _distances,
            "distances",
            "in-process + 20 ms",
            lambda in_process_ms: in_process_ms + 20,
        ),
        Case(
            "Batch-all with gradients, N = 2,048, K = 4, D = 512",
            "/v1/losses/batch",
            {"mining": "all", "gradients": True},
            {"embeddings": rows, "labels": np.arange(2048) // 4},
            _loss,
            "gradients",
            "1.3 x in-process",
            lambda in_process_ms: 1.3 * in_process_ms,
        ),
    ]


def _distances(arrays: Arrays) -> npt.NDArray[Any]:
    with torch.inference_mode():
        return pairwise(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])).numpy()


def _loss(arrays: Arrays) -> npt.NDArray[Any]:
    embeddings = torch.from_numpy(arrays["embeddings"]).requires_grad_()
    batch_triplet_loss(embeddings, torch.from_numpy(arrays["labels"])).loss.backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is not None
    return embeddings.grad.numpy()


def measure(case: Case, server: Server, rounds: int) -> Stopwatch:
    """Let both sides take turns.

    Raises:
        RuntimeError: an answer is not what the call in this process returns.
    """
    watch = Stopwatch()
    clients = {one.name: Client(server, one.media_type) for one in FORMATS}
    for turn in range(-_WARM_UP, rounds):
        if turn == 0:
            watch.forget()
        expected = watch.time("in-process", case.call, case.arrays)
        for one in FORMATS:
            if one.name == "JSON" and turn % _JSON_EVERY:
                continue
            content = watch.time(f"{one.name}, pack", one.pack, case.fields, case.arrays)
            body = watch.time(one.name, clients[one.name].post, case.path, content)
            found = watch.time(f"{one.name}, unpack", one.unpack, body, case.answer)
            if not np.allclose(found, expected, rtol=1e-5, atol=1e-6 * float(np.abs(expected).max())):
                raise RuntimeError(f"{case.path} over {one.name} answers otherwise than the call in-process.")
            watch.bytes[f"{one.name}, sent"], watch.bytes[f"{one.name}, received"] = len(content), len(body)
    return watch


def rows_of(case: Case, watch: Stopwatch) -> list[list[str]]:
    """Return a case's rows of the table."""
    alone = watch.median_ms("in-process")
    rows = [[case.title, "in-process", f"{alone:.1f}", "", "", "", ""]]
    for one in FORMATS:
        taken = watch.median_ms(one.name)
        packing = watch.median_ms(f"{one.name}, pack") + watch.median_ms(f"{one.name}, unpack")
        sent, received = (watch.bytes[f"{one.name}, {way}"] / 1e6 for way in ("sent", "received"))
        rows.append(
            [
                "",
                one.name,
                f"{taken:.1f}",
                f"{taken - alone:+.1f}, {taken / alone:.2f} x",
                f"{packing:.1f}",
                f"{sent:.1f}",
                f"{received:.1f}",
            ]
        )
    return rows


def verdict(case: Case, watch: Stopwatch) -> str:
    """Return whether the target is met, in a sentence."""
    alone, taken = watch.median_ms("in-process"), watch.median_ms("safetensors")
    allowed = case.allowed_ms(alone)
    word = "met" if taken <= allowed else "missed"
    return (
        f"- {case.title}: at most {case.target} = {allowed:.1f} ms over safetensors; {taken:.1f} ms: {word}."
    )


def render(measured: Sequence[tuple[Case, Stopwatch]], rounds: int, threads: int) -> str:
    """Return the section as Markdown."""
    heads = [
        "request",
        "over",
        "ms",
        "more than in-process",
        "client's packing, ms",
        "MB sent",
        "MB received",
    ]
    table = [heads, ["---"] * len(heads), *(row for one in measured for row in rows_of(*one))]
    json_rounds = -(-rounds // _JSON_EVERY)
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return f"""\
## Distances and losses over REST

{datetime.now(UTC):%Y-%m-%d}, `make bench-rest`. {describe_machine("cpu", threads)}. {describe_versions()}.

`lookalike serve` as it comes, and a client on the loopback interface: one keep-alive connection, one request
at a time, in turns with the in-process call. Medians of {rounds} rounds, of {json_rounds} for JSON. The time
of a request is from its first byte sent to the last byte of its answer received; what the client itself
spends on packing the one and unpacking the other stands beside it. Every answer is compared with the
in-process one.

{lines}

What was aimed at:

{chr(10).join(verdict(*one) for one in measured)}
"""


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="fewer than the default only print")
    rounds, threads = parser.parse_args().rounds, available_cpus()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "data") as server:
        measured = [(case, measure(case, server, rounds)) for case in cases()]
    text = render(measured, rounds, threads)
    sys.stdout.write(text)
    if rounds >= _ROUNDS:
        put_section(_DOCUMENT, "bench-rest", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
