"""What every process of the tests and its children share: one thread for each pool, and compiled modules.

`make test` has a process for each processor already. Beside another one, threads that wait for each other
spin instead of working: a training of six steps took 15 times as long. A test that is about threads sets
its own number.

The tests start some fifty processes that import torch. Where the environment forbids to write what is
compiled, and nothing was compiled as it was installed, each of them compiles it again, for as long as it
takes to import it.
"""

import os
import sys

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for servers, which take a thread a processor

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
