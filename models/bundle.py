"""An encoder on disk: a folder of manifest, weights and reference outputs, checked and hashed, never pickled.

A bundle holds

    manifest.json             what it is, for what, how good, and how pictures become its input
    weights.safetensors       for one of our architectures, or
    model.onnx                for ONNX Runtime
    detector.onnx             finds the faces in photographs, where it is for photographs of faces
    references.safetensors    a few inputs and the outputs that they must give on any engine
    evaluation.json           how it was measured, in full, for programs; may be missing
    report.html               the same for people, with or without pictures of the set; may be missing
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from models.bundle_folder import (
    GRAPH,
    MANIFEST,
    REFERENCES,
    WEIGHTS,
    check_destination,
    holds_bundle,
    read_file,
    refuse_bundle,
    replace_folder,
    why_no_bundle,
)
from models.errors import BundleError
from models.faces import DETECTOR
from models.images import Pixels
from models.manifest import (
    FORMAT,
    Architecture,
    EncoderSpec,
    InputSpec,
    Manifest,
    OnnxGraph,
    make_record,
)

__all__ = [
    "MANIFEST",
    "Architecture",
    "Bundle",
    "EncoderSpec",
    "InputSpec",
    "Manifest",
    "OnnxGraph",
    "Reports",
    "add_measurements",
    "check_destination",
    "find_bundle",
    "holds_bundle",
    "read_bundle",
    "refuse_bundle",
    "shipped_bundles",
    "why_no_bundle",
    "write_bundle",
]

Reports = Mapping[str, bytes]

_NO_TENSORS = "is not a safetensors file, or a damaged one. Copy or export the bundle again."


class Bundle(BaseModel):
    """A bundle in memory, its hashes verified.

    Attributes:
        manifest: what it is.
        weights: the bytes of the weights file.
        inputs: (n, H, W, C) uint8 reference inputs, n >= 1.
        outputs: (n, D) float32, what they must give.
        reports: the bytes of those reports that the manifest names and that are there.
        detector: the bytes of the face detector's graph, or None.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    manifest: Manifest
    weights: bytes
    inputs: Pixels
    outputs: npt.NDArray[np.float32]
    reports: dict[str, bytes]
    detector: bytes | None = None

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights by parameter name, for a PyTorch architecture.

        Raises:
            BundleError: the weights are no safetensors file.
        """
        try:
            return load_tensors(self.weights)
        except SafetensorError as error:
            raise BundleError(f"{self.manifest.weights_file} {_NO_TENSORS}") from error


def shipped_bundles() -> dict[str, Path]:
    """Return the bundles that ship with the project, by name."""
    folder = Path(__file__).parent / "bundles"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{MANIFEST}"))}


def find_bundle(name_or_path: str) -> Path:
    """Return the folder of a shipped bundle's name, or of a path.

    Raises:
        BundleError: neither; the message lists the names.
    """
    shipped = shipped_bundles()
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    reason = why_no_bundle(path)
    if reason is None:
        return path
    known = ", ".join(shipped) or "none"
    if not path.exists():
        reason = "is no shipped encoder and no folder"
    raise BundleError(
        f"{name_or_path!r} {reason}. Give one of the shipped names ({known}) or a bundle's folder."
    )


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify every hash in it.

    A report may be deleted, as the encoder does not need it. One that was changed is refused, and one that
    the manifest does not name is not read: what is read here is what was measured.

    Raises:
        BundleError: a file is missing, malformed, no regular file, or not the one that the manifest names.
    """
    try:
        manifest = Manifest.model_validate_json(read_file(folder / MANIFEST))
        weights = read_file(folder / manifest.weights_file)
        references = read_file(folder / REFERENCES)
        detector = read_file(folder / manifest.detector.file) if manifest.detector else None
        reports = {
            str(name): read_file(folder / name)
            for name in manifest.reports_sha256
            if (folder / name).exists()
        }
    except OSError as error:
        raise BundleError(
            f"The bundle {folder} cannot be read: {error.strerror} ({error.filename})."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise BundleError(
            f"{folder / MANIFEST} is not a valid manifest: copy or export the bundle again. "
            f"({where}: {first['msg']}; {error.error_count()} error(s) in all.)"
        ) from error
    _verify(folder / manifest.weights_file, weights, manifest.weights_sha256)
    _verify(folder / REFERENCES, references, manifest.references_sha256)
    if manifest.detector is not None and detector is not None:
        _verify(folder / manifest.detector.file, detector, manifest.detector.sha256)
    for name, sha256 in manifest.reports_sha256.items():
        if name in reports:
            _verify(folder / name, reports[name], sha256)
    inputs, outputs = _read_references(folder / REFERENCES, references, manifest)
    return Bundle(
        manifest=manifest,
        weights=weights,
        inputs=inputs,
        outputs=outputs,
        reports=reports,
        detector=detector,
    )


def write_bundle(
    folder: Path,
    spec: EncoderSpec,
    weights: dict[str, torch.Tensor] | bytes,
    references: tuple[Pixels, npt.NDArray[np.float32]],
    *,
    reports: Reports | None = None,
    detector: bytes | None = None,
) -> Manifest:
    """Write a bundle, complete or not at all.

    Args:
        folder: a new one, or an older bundle, which is replaced once the new one is complete.
        spec: what the author states.
        weights: a state dict for a PyTorch architecture, or the file's bytes.
        references: inputs (n, H, W, C) uint8 and the outputs (n, D) float32 that they give.
        reports: files to put beside them, by name.
        detector: the graph that the spec's `detector` is about; None where it has none.

    Raises:
        OptionError: a report of another name.
        BundleError: the folder exists and holds something else, or cannot be written.
    """
    raw = weights if isinstance(weights, bytes) else save_tensors(_contiguous(weights))
    inputs, outputs = (np.ascontiguousarray(array) for array in references)
    reference_bytes = save_arrays({"inputs": inputs, "outputs": outputs})
    beside = reports or {}
    manifest = make_record(
        Manifest,
        **spec.model_dump(),
        format=FORMAT,
        weights_file=GRAPH if spec.onnx else WEIGHTS,
        weights_sha256=hashlib.sha256(raw).hexdigest(),
        references_sha256=hashlib.sha256(reference_bytes).hexdigest(),
        reports_sha256={name: hashlib.sha256(report).hexdigest() for name, report in beside.items()},
    )
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    files = {manifest.weights_file: raw, REFERENCES: reference_bytes, MANIFEST: text.encode()}
    replace_folder(folder, files | ({} if detector is None else {DETECTOR: detector}) | dict(beside))
    return manifest


def add_measurements(
    folder: Path,
    *,
    evaluation: dict[str, Any] | None = None,
    calibration: dict[str, Any] | None = None,
    reports: Reports | None = None,
) -> Manifest:
    """Write what was measured on a bundle into it; its weights, references and fingerprint stay as they are.

    The network is not run. The bundle is replaced as a whole, or not at all.

    Args:
        folder: the bundle's.
        evaluation: for the manifest; None leaves what is there.
        calibration: likewise.
        reports: the files beside it, in place of all that are there; None leaves those.

    Raises:
        OptionError: no calibration, one of another metric, or a report of another name.
        BundleError: the bundle is damaged, or cannot be written.
    """
    bundle = read_bundle(folder)
    stated = bundle.manifest.model_dump(include=set(EncoderSpec.model_fields))
    given = {"evaluation": evaluation, "calibration": calibration}
    stated.update({name: record for name, record in given.items() if record is not None})
    return write_bundle(
        folder,
        make_record(EncoderSpec, **stated),
        bundle.weights,
        (bundle.inputs, bundle.outputs),
        reports=bundle.reports if reports is None else reports,
        detector=bundle.detector,
    )


def _contiguous(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors in the order that safetensors stores (training may have them channels-last)."""
    return {name: tensor.detach().contiguous() for name, tensor in weights.items()}


def _read_references(path: Path, raw: bytes, manifest: Manifest) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Return the reference inputs and outputs, of the shapes and dtypes that the manifest implies."""
    try:
        arrays = load_arrays(raw)
    except SafetensorError as error:
        raise BundleError(f"{path} {_NO_TENSORS}") from error
    spec, count = manifest.input, len(np.atleast_1d(arrays.get("inputs", ())))
    expected = {
        "inputs": ("uint8", (count, spec.height, spec.width, spec.depth)),
        "outputs": ("float32", (count, manifest.dimension)),
    }
    fits = [
        name in arrays and (arrays[name].dtype.name, arrays[name].shape) == (dtype, shape)
        for name, (dtype, shape) in expected.items()
    ]
    if count == 0 or not all(fits):
        raise BundleError(
            f"{path} must hold inputs (n, {spec.height}, {spec.width}, {spec.depth}) uint8 and "
            f"outputs (n, {manifest.dimension}) float32, n >= 1."
        )
    return arrays["inputs"], arrays["outputs"]


def _verify(path: Path, data: bytes, expected: str) -> None:
    """Compare a file with the manifest's hash of it."""
    if hashlib.sha256(data).hexdigest() != expected:
        raise BundleError(
            f"{path} is not the file that its manifest names (its sha256 differs). "
            "It is damaged or was changed: copy or export the bundle again."
        )
