"""Fresh processes: what one measurement allocates, or breaks, never reaches the next."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

import torch

__all__ = ["Children", "FailedError", "TimedOutError"]

_PRELOADED = ["benchmarks.core.exactness", "benchmarks.core.measuring"]
_POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class TimedOutError(Exception):
    """A measurement took longer than it may."""


class FailedError(Exception):
    """A measurement ended without an answer; the message says how."""


class Children:
    """Runs functions, each in a process of its own, forked from one that has only imported the libraries.

    Args:
        threads: how many each process may use.
        memory_limit: bytes that a process may take beyond what the libraries map (Linux); None: all.
    """

    def __init__(self, threads: int, memory_limit: int | None = None) -> None:
        # NumPy's and MKL's pools read these as they are imported, in the process that the others come from.
        os.environ.update(dict.fromkeys(_POOLS, str(threads)))
        self._threads = threads
        self._limit = memory_limit
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        # The terminal's interrupt is for this process, which ends the others: they inherit to ignore it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            ensure_running()
        finally:
            signal.signal(signal.SIGINT, before)

    def run(
        self, function: Callable[..., dict[str, Any]], *arguments: Any, timeout_s: float
    ) -> dict[str, Any]:
        """Return what function(*arguments) returns.

        Raises:
            TimedOutError: it took longer; its process is ended.
            FailedError: it raised, or its process died.
        """
        mine, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_run, args=(theirs, self._threads, self._limit, function, arguments), daemon=True
        )
        process.start()
        theirs.close()
        try:
            if not mine.poll(timeout_s):
                raise TimedOutError
            answer, problem = mine.recv()
        except EOFError:
            process.join()
            raise FailedError(f"the process ended with {process.exitcode}") from None
        finally:
            process.kill()
            process.join()
            mine.close()
        if problem:
            raise FailedError(problem)
        result: dict[str, Any] = answer
        return result


def _run(
    pipe: Connection,
    threads: int,
    limit: int | None,
    function: Callable[..., dict[str, Any]],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(threads)
    if limit is not None:
        _limit_memory(limit)
    answer, problem = None, ""
    try:
        answer = function(*arguments)
    except Exception as error:  # handed to whoever waits for it
        first_line, *_ = [*str(error).splitlines(), ""]
        problem = f"{type(error).__name__}: {first_line}"
    with suppress(BrokenPipeError):  # interrupted: nobody waits any more
        pipe.send((answer, problem))


def _limit_memory(limit: int) -> None:
    """Let allocations beyond the limit fail here, rather than the machine run out for everybody."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + limit, hard))
