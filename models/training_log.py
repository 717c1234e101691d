"""What training leaves on disk: one JSON object a line, and the same numbers for TensorBoard.

A run that is resumed from a checkpoint does some steps again. Their lines are taken out of the JSON Lines
first, so that each step stands there once; TensorBoard is told to hide them. A last line that was cut off
when the process was killed goes the same way.
"""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["JSON_LINES", "TENSORBOARD", "TrainingLog"]

log = logging.getLogger(__name__)

JSON_LINES = "log.jsonl"
TENSORBOARD = "tensorboard"


class TrainingLog:
    """Writes records of steps to a folder: `log.jsonl`, and `tensorboard` where that package is installed.

    Args:
        folder: made where it is missing.
        after: the last step that was done; records of later steps are removed. 0 begins a new log.

    Raises:
        OSError: the folder cannot be made, or its log cannot be written.
    """

    def __init__(self, folder: Path, after: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / JSON_LINES
        _keep_until(path, after)
        self._writer = _tensorboard(folder / TENSORBOARD, after)
        self._lines = path.open("a", encoding="utf-8", newline="\n")

    def write(self, step: int, record: Mapping[str, float]) -> None:
        """Write a step's numbers, so that they survive the death of this process.

        Args:
            step: above that of the record before.
            record: numbers by their names; one that is not finite becomes null, and no point of a curve.

        Raises:
            OSError: it cannot be written.
        """
        numbers = {name: value if math.isfinite(value) else None for name, value in record.items()}
        try:
            self._lines.write(json.dumps({"step": step, **numbers}) + "\n")
            self._lines.flush()
        except OSError as error:  # that of a full disk names no file
            raise OSError(error.errno, error.strerror, self._lines.name) from error
        if self._writer is None:
            return
        for name, value in numbers.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        if self._writer is not None:
            self._writer.close()


def _keep_until(path: Path, after: int) -> None:
    """Leave in a file of JSON Lines the whole records of steps up to `after`."""
    if not path.exists():
        return
    before = path.read_bytes()
    kept = b"".join(line + b"\n" for line in before.split(b"\n") if _is_record_until(line, after))
    if kept == before:
        return
    # Replaced as a whole: a process that dies here must not take the log with it.
    replacement = path.with_suffix(".partial")
    replacement.write_bytes(kept)
    replacement.replace(path)


def _is_record_until(line: bytes, after: int) -> bool:
    try:
        record = json.loads(line)
    except ValueError:  # cut off, or not even text
        return False
    return isinstance(record, dict) and isinstance(record.get("step"), int) and record["step"] <= after


def _tensorboard(folder: Path, after: int) -> Any:
    """Return a SummaryWriter, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional extra, slow to import
    except ImportError:
        log.info("Nothing is written for TensorBoard, which is not installed: pip install '.[train]'.")
        return None
    return SummaryWriter(folder, purge_step=after + 1)
