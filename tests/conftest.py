"""What every process of the tests and its children share: one thread for each pool, and compiled modules.

What takes longest comes first.

`make test` has a process for each processor already. Beside another one, threads that wait for each other
spin instead of working: a training of six steps took 15 times as long. A test that is about threads sets
its own number.

The tests start some fifty processes that import torch. Where the environment forbids to write what is
compiled, and nothing was compiled as it was installed, each of them compiles it again, for as long as it
takes to import it.

The garbage collector leaves alone what the tests import: else it walks through all of torch every few tests.
"""

import gc
import os
import sys

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for servers, which take a thread a processor

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

gc.disable()  # until all is imported


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of real servers: few tests that take long, which else one process has in the end.

    xdist hands out whole files, and would begin with those of the most tests.
    """
    items.sort(key=_starts_no_server)


def _starts_no_server(item: pytest.Item) -> bool:
    module = item.getparent(pytest.Module)
    return module is None or module.get_closest_marker("system") is None


def pytest_collection_finish() -> None:
    """Let the garbage collector begin, with what comes from here on."""
    gc.collect()
    gc.freeze()
    gc.enable()
