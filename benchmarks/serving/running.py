"""One server, started, checked, loaded and stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.checking import check_answers
from benchmarks.serving.load import run_load
from benchmarks.serving.peers.engine import Rows
from benchmarks.serving.plan import CLIENTS, Plan
from benchmarks.serving.processes import started
from benchmarks.serving.servers import Server, Start

__all__ = ["Sent", "measure_server"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What every server is sent.

    Attributes:
        pictures: all of them.
        lists: for wrk.
        expected: (N, D) embeddings of the first N pictures, which are compared.
    """

    pictures: Sequence[Path]
    lists: dict[bool, Path]
    expected: Rows


def measure_server(server: Server, start: Start, sent: Sent, plan: Plan) -> dict[str, Any]:
    """Load a server with each number of clients.

    Returns:
        `loads`: by number of clients, what was found, with the server's own processor seconds a second;
        `bytes`: its memory after the last; `cosine`: the smallest similarity to the reference, before and
        after.

    Raises:
        StartError: it does not start.
        WrongAnswerError: it answers an error or another embedding.
        RuntimeError: wrk failed.
    """
    compared = sent.pictures[: len(sent.expected)]
    log = start.work / f"{server.key}.log"
    with started(server.command(start), server.environment(start), start.port, log) as tree:
        cosine = check_answers(start.port, server.form, compared, sent.expected)
        loads: dict[str, Any] = {}
        for clients, warm_up_s, timed_s in zip(CLIENTS, plan.warm_up_s, plan.timed_s, strict=True):
            url = f"http://127.0.0.1:{start.port}"
            run_load(url, server.form, sent.lists, clients=clients, seconds=warm_up_s)
            before = tree.cpu_s()
            load = run_load(url, server.form, sent.lists, clients=clients, seconds=timed_s)
            cpu = (tree.cpu_s() - before) / timed_s
            loads[str(clients)] = {**load.as_record(), "server_cpu": cpu}
        memory = tree.memory_bytes()
        cosine = min(cosine, check_answers(start.port, server.form, compared, sent.expected))
    return {"loads": loads, "bytes": memory, "cosine": cosine}
