"""A bundle's folder: the names of its files, and how they come there, all of them or none."""

import json
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from models.errors import BundleError
from models.faces.spec import DETECTOR
from models.manifest import FORMAT, REPORT_NAMES

__all__ = [
    "GRAPH",
    "MANIFEST",
    "REFERENCES",
    "WEIGHTS",
    "check_destination",
    "holds_bundle",
    "read_file",
    "refuse_bundle",
    "replace_folder",
    "why_no_bundle",
]

MANIFEST = "manifest.json"
REFERENCES = "references.safetensors"
WEIGHTS = "weights.safetensors"
GRAPH = "model.onnx"


def check_destination(folder: Path) -> None:
    """Return if a bundle may be written to this folder: it is new, empty, or nothing but an older bundle.

    Raises:
        BundleError: something is there that would be lost.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BundleError(f"{folder} is a file. Name a new folder with --out.")
    names = {path.name for path in folder.iterdir()}
    if not names:
        return
    # Many things have a manifest.json (web pages, browser extensions), so its content decides.
    if not holds_bundle(folder):
        raise BundleError(f"{folder} exists and is no bundle. Name a new folder with --out.")
    others = sorted(names - {MANIFEST, REFERENCES, WEIGHTS, GRAPH, DETECTOR, *REPORT_NAMES})
    if others:
        raise BundleError(
            f"{folder} is a bundle that also holds {', '.join(others[:3])}; to replace it would lose that. "
            "Name a new folder with --out."
        )


def holds_bundle(folder: Path) -> bool:
    """Say whether a folder holds a bundle, of this format or another version of it."""
    try:
        content = json.loads(read_file(folder / MANIFEST))
    except (OSError, ValueError, BundleError):
        return False
    family = FORMAT.split("/")[0] + "/"
    return isinstance(content, dict) and str(content.get("format")).startswith(family)


def why_no_bundle(path: Path) -> str | None:
    """Return what keeps a path from being a bundle's folder, as a sentence ends; None where it is one."""
    if (path / MANIFEST).is_file():
        return None
    if path.is_dir():
        return f"holds no {MANIFEST}" if any(path.iterdir()) else "is an empty folder"
    if path.suffix == ".onnx" and path.is_file():
        return "is a bare graph (make a bundle of it with: lookalike encoder import)"
    return "is a file and no folder" if path.exists() else "is no folder"


def read_file(path: Path) -> bytes:
    """Return what a file of a bundle holds.

    Raises:
        BundleError: it is a pipe, a device or a socket: whoever opens one may wait for ever.
        OSError: it is missing, or cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # to read a folder fails by itself
        raise BundleError(
            f"{path} is no regular file but a pipe, a device or a socket, and is not opened. "
            "Copy or export the bundle again."
        )
    return path.read_bytes()


def refuse_bundle(folder: Path, option: str) -> None:
    """Refuse a folder that holds a bundle: hours of work are replaced only where that was asked for.

    Args:
        folder: where a new bundle is to go.
        option: which one asks for it.

    Raises:
        BundleError: a bundle is there.
    """
    if holds_bundle(folder):
        raise BundleError(
            f"{folder} holds a bundle. Name a new folder with --out, or replace it by {option}."
        )


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a bundle's files into a new folder, or into an older bundle's in place of all that is there.

    Args:
        folder: a link to one is followed.
        files: by name.

    Raises:
        BundleError: the folder exists and holds something else, or cannot be written; then it is as it was.
    """
    folder = folder.resolve()
    try:
        check_destination(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            _place(files, folder, Path(scratch))
    except OSError as error:
        raise BundleError(f"The bundle {folder} cannot be written: {error.strerror}.") from error


def _place(files: Mapping[str, bytes], folder: Path, scratch: Path) -> None:
    """Write the files aside, then put them where an older bundle may still be; undo what fails."""
    new, old = scratch / "new", scratch / "old"
    new.mkdir()
    for name, content in files.items():
        (new / name).write_bytes(content)
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
