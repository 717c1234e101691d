"""Processes of their own for the tests of training: real ones, of which torch is loaded once."""

import multiprocessing
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess

__all__ = ["start"]

_SECONDS = 240  # a bound for what hangs; what works takes a small part of it


def start(target: Callable[..., None], *arguments: tuple[object, ...]) -> list[int | None]:
    """Run a function in one process for each tuple of arguments, all at once.

    Args:
        target: of a module, so that a process can find it.
        arguments: of each call.

    Returns:
        The exit codes: minus the signal for one that was killed, 1 for one that raised.
    """
    _let_go_of_anothers_server()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([target.__module__, "tests.models.training.preloaded"])
    processes: list[BaseProcess] = [context.Process(target=target, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


@cache
def _let_go_of_anothers_server() -> None:
    """End the server that other tests of this process have started, once: it has loaded what they need."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # as CPython's own tests do
