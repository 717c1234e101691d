"""The file from which an interrupted training goes on, bit for bit."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.bundle import refuse_bundle
from models.datasets import ImageSet
from models.errors import BundleError, OptionError
from models.progress import Report
from models.training.config import TrainConfig
from models.training.parts import Parts
from models.training.ranks import Ranks

__all__ = ["Checkpoint", "claimed", "listing_sha256", "training_folder"]

log = logging.getLogger(__name__)

_FILE = "checkpoint.safetensors"
_LOCK = "lock"
_FORMAT = "lookalike-training/1"
_DECIDE_NO_WEIGHT = frozenset({"save_steps", "save_minutes", "val_split"})


@dataclass(frozen=True)
class _Kept:
    """What a file holds."""

    step: int
    finished: bool
    facts: dict[str, Any]
    report: dict[str, float]
    scaler: dict[str, Any]


class Checkpoint:
    """One file, replaced as a whole: tensors as safetensors, the rest as JSON in its header.

    Args:
        config: of the training; decides how often it is written.
        data_sha256: of the listing that is trained on.
        ranks: rank 0 writes, all read.
        resume: whether `restore` goes on from the file, where there is one.
    """

    def __init__(self, config: TrainConfig, data_sha256: str, ranks: Ranks, *, resume: bool) -> None:
        self.folder = training_folder(config.out)
        self._path = self.folder / _FILE
        self._config, self._ranks, self._resume = config, ranks, resume
        facts = {name: value for name, value in config.record().items() if name not in _DECIDE_NO_WEIGHT}
        facts |= {"ranks": ranks.world, "data": data_sha256}
        # As JSON gives it back: the two are compared.
        self._facts: dict[str, Any] = json.loads(json.dumps(facts))
        self._written = time.monotonic()

    def refuse_to_overwrite(self) -> None:
        """Raise where a new training would replace an unfinished one, or what came of another.

        Raises:
            OptionError: there is the checkpoint of a training that is not at its end.
            BundleError: that file is damaged; or there is a bundle, and no checkpoint that leads to it.
        """
        if self._resume:
            if not self._path.exists():
                refuse_bundle(self._config.out, "--fresh")
            return
        if self._path.exists() and not (kept := self._read(with_tensors=False)[0]).finished:
            raise OptionError(
                f"{self._path} is of a training that was stopped after step {kept.step}. "
                "Go on with --resume, or begin anew with --fresh."
            )
        refuse_bundle(self._config.out, "--fresh")

    def restore(self, parts: Parts) -> tuple[int, dict[str, float] | None]:
        """Bring the parts to where the file was written; return the step and the state of the report.

        Without a file, or where a new training was asked for, return (0, None). A new one removes the file of
        an older one: resumed before it has written its own, it must not go on from that.

        Raises:
            OptionError: the file is another configuration's.
            BundleError: it is damaged.
        """
        if not self._resume and self._ranks.rank == 0:
            self._path.unlink(missing_ok=True)
        there = self._resume and self._path.exists()
        step, state = self._restore(parts) if there else (0, None)
        if self._ranks.largest(step) != (step,):
            raise OptionError(f"{self._path} is not the same file for all ranks; they must share a folder.")
        return step, state

    def write_if_due(self, parts: Parts, step: int, report: Report) -> None:
        """Write where as many steps, or minutes, as the configuration says have passed."""
        config = self._config
        minutes = (time.monotonic() - self._written) / 60
        by_steps = config.save_steps is not None and step % config.save_steps == 0
        if by_steps or (config.save_minutes is not None and minutes >= config.save_minutes):
            self.write(parts, step, report)

    def write(self, parts: Parts, step: int, report: Report, *, finished: bool = False) -> None:
        """Write everything that training goes on from; what was there before stays until this is complete.

        Args:
            parts: what has changed so far.
            step: how many are done.
            report: of them.
            finished: whether none is left to do.

        Raises:
            OSError: it cannot be written.
        """
        self._written = time.monotonic()
        if self._ranks.rank > 0:
            return
        kept = _Kept(step, finished, self._facts, report.state(), parts.scaler.state_dict())
        header = {"format": _FORMAT, "training": json.dumps(vars(kept))}
        data = save({name: tensor.contiguous() for name, tensor in parts.tensors().items()}, header)
        replace_file(self._path, data)

    def how_to_go_on(self) -> str:
        """Return where the file is and what to do with it, as a sentence."""
        return f"Go on from {self._path} with the same command and --resume."

    def _restore(self, parts: Parts) -> tuple[int, dict[str, float]]:
        kept, tensors = self._read()
        for name, given in self._facts.items():
            if kept.facts.get(name) != given:
                raise OptionError(_differs(self._path, name, kept.facts.get(name), given), argument=name)
        try:
            parts.restore(tensors)
        except (KeyError, RuntimeError, ValueError) as error:
            raise BundleError(
                f"{self._path} does not hold the tensors of its training. Begin anew with --fresh."
            ) from error
        if kept.scaler:
            parts.scaler.load_state_dict(kept.scaler)
        return kept.step, kept.report

    def _read(self, *, with_tensors: bool = True) -> tuple[_Kept, dict[str, Tensor]]:
        try:
            with safe_open(self._path, "pt") as file:
                header = file.metadata() or {}
                if header.get("format") != _FORMAT:
                    raise BundleError(f"{self._path} is not a checkpoint of this version.")
                names = file.keys() if with_tensors else ()
                tensors = {name: file.get_tensor(name) for name in names}
                return _Kept(**json.loads(header["training"])), tensors
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise BundleError(f"{self._path} is damaged. Begin anew with --fresh.") from error
        except OSError as error:
            raise BundleError(f"{self._path} cannot be read: {error.strerror}.") from error


def training_folder(out: Path) -> Path:
    """Return the folder beside a bundle's, for what only training needs."""
    out = out.resolve()  # a name even for "."; and where a link leads, as the bundle itself
    return out.with_name(f"{out.name}.training")


@contextmanager
def claimed(out: Path, ranks: Ranks) -> Iterator[None]:
    """Keep every other training from writing where this one does, until it ends, in whatever way.

    Args:
        out: the bundle's folder.
        ranks: rank 0 claims it for all.

    Raises:
        OptionError: another one does already.
        BundleError: the folder beside the bundle's cannot be made.
    """
    if ranks.rank:
        yield
        return
    folder = training_folder(out)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with _locked(folder, made, out):
        try:
            yield
        finally:
            _leave_nothing(folder, made)


@contextmanager
def _locked(folder: Path, made: list[Path], out: Path) -> Iterator[None]:
    """Hold the lock in the folder beside a bundle's, which is made, as are those above it."""
    lock = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        _leave_nothing(folder, made)
        raise BundleError(
            f"{folder}, which a training needs beside {out}, cannot be written: {error.strerror}. Choose "
            "another place with --out."
        ) from error
    with file:
        try:
            # The lock is on the open file, so that it is gone when the process is, even after a kill.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = False
        except BlockingIOError:
            taken = True
        except OSError as error:  # some network file systems have no locks
            log.warning("%s cannot be locked (%s): let no other training write there.", lock, error.strerror)
            taken = False
        if taken or not _is_at(file.fileno(), lock):
            raise OptionError(
                f"Another training writes to {out}. Wait for its end, or name another folder with --out.",
                argument="out",
            )
        yield


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at a path: who had it before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _leave_nothing(folder: Path, made: list[Path]) -> None:
    """Remove a folder that holds the lock at most, and those above it that were made for it."""
    with contextlib.suppress(OSError):  # it cannot be read, or those above hold something by now
        if {path.name for path in folder.iterdir()} <= {_LOCK}:
            (folder / _LOCK).unlink(missing_ok=True)
            for path in dict.fromkeys((folder, *made)):
                path.rmdir()


def listing_sha256(images: ImageSet, folder: Path) -> str:
    """Return the sha256 of which pictures a set lists, with identities, cameras and groups.

    Args:
        images: the set.
        folder: the dataset's, which may move without being another dataset.
    """
    rows = [
        (os.path.relpath(sample.path, folder), sample.identity, sample.camera, sample.group)
        for sample in images.samples
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that the old or the new one is there whole, even after a loss of power.

    Raises:
        OSError: it cannot be written; the old one is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)  # of a full disk, it would take the last of the room
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk names no file
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the renaming itself
    finally:
        os.close(folder)


def _differs(path: Path, name: str, before: object, now: object) -> str:
    """Say in which field two configurations differ."""
    if name == "data":
        return f"{path} was trained on other pictures than those now listed. Begin anew with --fresh."
    return (
        f"{path} was made with {name} {before!r}, and {now!r} is asked for. "
        "Give what it was made with, or begin anew with --fresh."
    )
