"""A small bundle to write, edit and compare; its network is never built."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.bundle import write_bundle
from models.calibration import Origin, calibrate
from models.manifest import Architecture, EncoderSpec, InputSpec, Manifest
from models.metrics import given_pairs

__all__ = [
    "REFERENCES",
    "REPORTS",
    "WEIGHTS",
    "contents",
    "edit_manifest",
    "make_calibration",
    "make_spec",
    "replace_file",
    "write",
]

REFERENCES = (
    np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3),
    np.linspace(-1, 1, 10, dtype=np.float32).reshape(2, 5),
)
REPORTS = {"evaluation.json": b"{}", "report.html": b"<p>rank-1</p>"}
WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3)}


def make_spec(**changes: Any) -> EncoderSpec:
    values: dict[str, Any] = {
        "name": "small",
        "architecture": Architecture(name="small_resnet", params={"dimension": 5}),
        "input": InputSpec(height=4, width=6, mean=(1, 2, 3), std=(4, 5, 6)),
        "dimension": 5,
        "normalize": True,
        "metric": "cosine",
    }
    return EncoderSpec(**values | changes)


def write(folder: Path, **changes: Any) -> Manifest:
    return write_bundle(folder, make_spec(**changes), WEIGHTS, REFERENCES)


def make_calibration(metric: str = "cosine") -> dict[str, Any]:
    """Return the record of a calibration: 3 genuine pairs, and 10 impostor pairs at 0.1, 0.2 ... 1."""
    pairs = given_pairs(np.array([0.05, 0.15, 0.25]), np.arange(1, 11) / 10)
    return calibrate(pairs, Origin(metric, "drawn", "val"), fars=[0.2, 0.1]).record()


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replace_file(folder: Path, field: str, content: bytes) -> None:
    """Put other content into the weights or the references of a bundle, with the hash that fits."""
    (folder / f"{field}.safetensors").write_bytes(content)
    changed = {f"{field}_sha256": hashlib.sha256(content).hexdigest()}
    edit_manifest(folder, lambda manifest: manifest.update(changed))
