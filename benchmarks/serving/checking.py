"""Whether a server answers what it should: many pictures at once, each compared with the reference."""

import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.serving.load import Form
from benchmarks.serving.peers.engine import Rows

__all__ = ["WrongAnswerError", "check_answers"]

_COSINE = 0.9999
_AT_ONCE = 32
_READY_S = 60.0
_TIMEOUT_S = 60.0


class WrongAnswerError(Exception):
    """A server answers an error, or another embedding; the message says which."""


def check_answers(port: int, form: Form, pictures: Sequence[Path], expected: Rows) -> float:
    """Wait for the first good answer, then ask for all pictures at once.

    Args:
        port: of the loopback interface.
        form: how the server takes a picture.
        pictures: what is asked.
        expected: (N, D), of length 1.

    Returns:
        The smallest cosine similarity of an answer and its reference.

    Raises:
        WrongAnswerError: an answer is an error, or its similarity below .9999.
    """
    files = [path.read_bytes() for path in pictures]
    _wait_until_ready(port, form, files[0])
    with ThreadPoolExecutor(_AT_ONCE) as clients:
        rows = list(clients.map(lambda data: _ask(port, form, data), files))
    lengths = np.linalg.norm(rows, axis=1)
    cosines = np.sum(np.asarray(rows) * expected, axis=1) / lengths
    worst = int(np.argmin(cosines))
    if not cosines[worst] >= _COSINE:  # NaN too
        raise WrongAnswerError(
            f"{pictures[worst].name} has another embedding: cosine similarity {cosines[worst]:.5f}"
        )
    return float(cosines[worst])


def _wait_until_ready(port: int, form: Form, data: bytes) -> None:
    """Ask until there is an answer: some servers listen before their workers have loaded."""
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            _ask(port, form, data)
        except (WrongAnswerError, OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.25)
        else:
            return


def _ask(port: int, form: Form, data: bytes) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", form.path, form.body(data), {"Content-Type": form.content_type})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise WrongAnswerError(f"status {answer.status}: {text[:200].decode(errors='replace')}")
        return form.embedding(json.loads(text))
    finally:
        connection.close()
