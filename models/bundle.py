"""An encoder on disk: a folder of manifest, weights and reference outputs, checked and hashed, never pickled.

A bundle holds

    manifest.json             what it is, for what, how good, and how pictures become its input
    weights.safetensors       for one of our architectures, or
    model.onnx                for ONNX Runtime
    references.safetensors    a few inputs and the outputs that they must give on any engine
"""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from models.errors import BundleError
from models.images import Pixels
from models.manifest import FORMAT, Architecture, EncoderSpec, InputSpec, Manifest, OnnxGraph

__all__ = [
    "MANIFEST",
    "Architecture",
    "Bundle",
    "EncoderSpec",
    "InputSpec",
    "Manifest",
    "OnnxGraph",
    "check_destination",
    "find_bundle",
    "read_bundle",
    "shipped_bundles",
    "write_bundle",
]

MANIFEST = "manifest.json"
REFERENCES = "references.safetensors"
WEIGHTS = "weights.safetensors"
GRAPH = "model.onnx"


class Bundle(BaseModel):
    """A bundle in memory, its hashes verified.

    Attributes:
        manifest: what it is.
        weights: the bytes of the weights file.
        inputs: (n, H, W, C) uint8 reference inputs, n >= 1.
        outputs: (n, D) float32, what they must give.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    manifest: Manifest
    weights: bytes
    inputs: Pixels
    outputs: npt.NDArray[np.float32]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights by parameter name, for a PyTorch architecture.

        Raises:
            BundleError: the weights are no safetensors file.
        """
        try:
            return load_tensors(self.weights)
        except SafetensorError as error:
            raise BundleError(
                f"The weights of {self.manifest.name!r} are not a safetensors file ({error})."
            ) from error


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
    if (path / MANIFEST).is_file():
        return path
    known = ", ".join(shipped) or "none"
    if path.is_dir():
        reason = f"holds no {MANIFEST}"
    elif path.suffix == ".onnx" and path.is_file():
        reason = "is a bare graph (make a bundle of it with: lookalike encoder import)"
    else:
        reason = "is no shipped encoder and no folder"
    raise BundleError(
        f"{name_or_path!r} {reason}. Give one of the shipped names ({known}) or a bundle's folder."
    )


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify every hash in it.

    Raises:
        BundleError: a file is missing, malformed, or not the one that the manifest names.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        weights = (folder / manifest.weights_file).read_bytes()
        references = (folder / REFERENCES).read_bytes()
    except OSError as error:
        raise BundleError(
            f"The bundle {folder} cannot be read: {error.strerror} ({error.filename})."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise BundleError(
            f"{folder / MANIFEST} is not a valid manifest: {where}: {first['msg']} "
            f"({error.error_count()} error(s) in all)."
        ) from error
    _verify(folder / manifest.weights_file, weights, manifest.weights_sha256)
    _verify(folder / REFERENCES, references, manifest.references_sha256)
    inputs, outputs = _read_references(folder / REFERENCES, references, manifest)
    return Bundle(manifest=manifest, weights=weights, inputs=inputs, outputs=outputs)


def write_bundle(
    folder: Path,
    spec: EncoderSpec,
    weights: dict[str, torch.Tensor] | bytes,
    references: tuple[Pixels, npt.NDArray[np.float32]],
) -> Manifest:
    """Write a bundle, complete or not at all.

    Args:
        folder: a new one, or an older bundle, which is replaced once the new one is complete.
        spec: what the author states.
        weights: a state dict for a PyTorch architecture, the file's bytes for ONNX.
        references: inputs (n, H, W, C) uint8 and the outputs (n, D) float32 that they give.

    Raises:
        BundleError: the folder exists and holds something else, or cannot be written.
    """
    folder = folder.resolve()
    raw = weights if isinstance(weights, bytes) else save_tensors(_contiguous(weights))
    inputs, outputs = (np.ascontiguousarray(array) for array in references)
    reference_bytes = save_arrays({"inputs": inputs, "outputs": outputs})
    manifest = Manifest(
        **spec.model_dump(),
        format=FORMAT,
        weights_file=GRAPH if spec.onnx else WEIGHTS,
        weights_sha256=hashlib.sha256(raw).hexdigest(),
        references_sha256=hashlib.sha256(reference_bytes).hexdigest(),
    )
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    files = {manifest.weights_file: raw, REFERENCES: reference_bytes, MANIFEST: text.encode()}
    try:
        check_destination(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            _place(files, folder, Path(scratch))
    except OSError as error:
        raise BundleError(f"The bundle {folder} cannot be written: {error.strerror}.") from error
    return manifest


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
    if not _is_ours(folder / MANIFEST):
        raise BundleError(f"{folder} exists and is no bundle. Name a new folder with --out.")
    others = sorted(names - {MANIFEST, REFERENCES, WEIGHTS, GRAPH})
    if others:
        raise BundleError(
            f"{folder} is a bundle that also holds {', '.join(others[:3])}; to replace it would lose that. "
            "Name a new folder with --out."
        )


def _place(files: dict[str, bytes], folder: Path, scratch: Path) -> None:
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


def _is_ours(path: Path) -> bool:
    """Say whether a file is the manifest of a bundle, of this format or another version of it."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    family = FORMAT.split("/")[0] + "/"
    return isinstance(content, dict) and str(content.get("format")).startswith(family)


def _contiguous(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors in the order that safetensors stores (training may have them channels-last)."""
    return {name: tensor.detach().contiguous() for name, tensor in weights.items()}


def _read_references(path: Path, raw: bytes, manifest: Manifest) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Return the reference inputs and outputs, of the shapes and dtypes that the manifest implies."""
    try:
        arrays = load_arrays(raw)
    except SafetensorError as error:
        raise BundleError(f"{path} is not a safetensors file ({error}).") from error
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
