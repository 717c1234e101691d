"""What the tests have child processes do."""

import os
import signal
import time
from typing import Any

import torch

__all__ = ["allocate", "answer", "die", "refuse", "sleep"]


def answer(value: int) -> dict[str, Any]:
    return {"value": value, "process": os.getpid(), "threads": torch.get_num_threads()}


def refuse() -> dict[str, Any]:
    raise RuntimeError("no\nfurther line")


def die() -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def sleep() -> dict[str, Any]:
    time.sleep(600)
    return {}


def allocate(size: int) -> dict[str, Any]:
    return {"size": torch.ones(size, dtype=torch.uint8).numel()}
