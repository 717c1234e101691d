"""An encoder on disk: a folder of manifest, weights and reference outputs, checked and hashed, never pickled.

A bundle holds

    manifest.json             what it is, for what, how good, and how pictures become its input
    weights.safetensors       for one of our architectures, or
    model.onnx                for ONNX Runtime
    references.safetensors    a few inputs and the outputs that they must give on any engine
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from models.errors import BundleError
from models.images import Pixels, Resize

__all__ = [
    "Architecture",
    "Bundle",
    "Channels",
    "EncoderSpec",
    "InputSpec",
    "Manifest",
    "OnnxGraph",
    "find_bundle",
    "read_bundle",
    "shipped_bundles",
    "write_bundle",
]

MANIFEST = "manifest.json"
REFERENCES = "references.safetensors"
FORMAT = "lookalike-encoder/1"

Channels = Literal["rgb", "bgr", "grey"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[float, Field(gt=0)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(_Record):
    """How a picture becomes the network's input: resize to height x width, then (pixel - mean) / std.

    Attributes:
        height, width: in pixels.
        channels: the order that the network expects.
        mean, std: one number a channel, in that order, for pixels from 0 to 255.
        resize: the interpolation; the picture is stretched to fit.
    """

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    channels: Channels = "rgb"
    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    resize: Resize = "bilinear"

    @property
    def depth(self) -> int:
        """Return C, the number of channels."""
        return 1 if self.channels == "grey" else 3

    @model_validator(mode="after")
    def _one_number_a_channel(self) -> "InputSpec":
        if not len(self.mean) == len(self.std) == self.depth:
            raise ValueError(f"mean and std need {self.depth} number(s) for {self.channels} input")
        return self


class Architecture(_Record):
    """One of `models.networks.NETWORKS`, with its parameters."""

    name: str
    params: dict[str, int | float | str | bool] = Field(default_factory=dict)


class OnnxGraph(_Record):
    """How an ONNX graph is called.

    Attributes:
        input, output: the tensors' names.
        layout: the order of the input's axes.
        batch: the batch size that the graph insists on; None takes any.
    """

    input: str
    output: str
    layout: Literal["nchw", "nhwc"] = "nchw"
    batch: int | None = Field(default=None, ge=1)


class EncoderSpec(_Record):
    """What the author of an encoder states about it.

    Attributes:
        name: by which the service hosts it.
        description, intended_use, licence: sentences for people.
        architecture: for PyTorch weights; exactly one of this and `onnx` is given.
        onnx: for an ONNX graph.
        input: how pictures become its input.
        dimension: D of its embeddings.
        normalize: whether embeddings are L2-normalised after the network.
        metric: the distance that it was trained for.
        evaluation: how good it is: dataset, split, figures and the counts behind them.
        training: the command and configuration that made it.
    """

    name: Name
    description: str = ""
    intended_use: str = ""
    licence: str = ""
    architecture: Architecture | None = None
    onnx: OnnxGraph | None = None
    input: InputSpec
    dimension: int = Field(ge=1, le=65_536)
    normalize: bool
    metric: Literal["cosine", "euclidean"]
    evaluation: dict[str, Any] | None = None
    training: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_engine(self) -> "EncoderSpec":
        if (self.architecture is None) == (self.onnx is None):
            raise ValueError("exactly one of architecture and onnx must be given")
        return self


class Manifest(EncoderSpec):
    """The spec together with the hashes of the files beside it; what manifest.json holds."""

    format: Literal["lookalike-encoder/1"]
    weights_file: FileName
    weights_sha256: Sha256
    references_sha256: Sha256

    @property
    def fingerprint(self) -> str:
        """Return the sha256 of weights and preprocessing: equal fingerprints, comparable embeddings."""
        decisive = self.model_dump(
            mode="json", include={"weights_sha256", "architecture", "onnx", "input", "dimension", "normalize"}
        )
        canonical = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class Bundle(BaseModel):
    """A bundle in memory, its hashes verified.

    Attributes:
        manifest: what it is.
        weights: the bytes of the weights file.
        inputs: (n, H, W, C) uint8 reference inputs.
        outputs: (n, D) float32, what they must give.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    manifest: Manifest
    weights: bytes
    inputs: Pixels
    outputs: npt.NDArray[np.float32]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights by parameter name, for a PyTorch architecture."""
        return load_tensors(self.weights)


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
    reason = f"holds no {MANIFEST}" if path.is_dir() else "is no shipped encoder and no folder"
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
    try:
        arrays = load_arrays(references)
    except SafetensorError as error:
        raise BundleError(f"{folder / REFERENCES} is not a safetensors file ({error}).") from error
    inputs, outputs = arrays.get("inputs"), arrays.get("outputs")
    spec = manifest.input
    if inputs is None or outputs is None or inputs.shape[1:] != (spec.height, spec.width, spec.depth):
        raise BundleError(
            f"{folder / REFERENCES} must hold outputs, and inputs "
            f"(n, {spec.height}, {spec.width}, {spec.depth})."
        )
    return Bundle(manifest=manifest, weights=weights, inputs=inputs, outputs=outputs)


def write_bundle(
    folder: Path,
    spec: EncoderSpec,
    weights: dict[str, torch.Tensor] | bytes,
    references: tuple[Pixels, npt.NDArray[np.float32]],
) -> Manifest:
    """Write a bundle, complete or not at all.

    Args:
        folder: a new one, or an older bundle, which is replaced.
        spec: what the author states.
        weights: a state dict for a PyTorch architecture, the file's bytes for ONNX.
        references: inputs (n, H, W, C) uint8 and the outputs (n, D) float32 that they give.

    Raises:
        BundleError: the folder exists and holds something else.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise BundleError(f"{folder} exists and is no bundle. Name a new folder with --out.")
    raw = weights if isinstance(weights, bytes) else save_tensors(weights)
    reference_bytes = save_arrays({"inputs": references[0], "outputs": references[1]})
    manifest = Manifest(
        **spec.model_dump(),
        format=FORMAT,
        weights_file="model.onnx" if spec.onnx else "weights.safetensors",
        weights_sha256=hashlib.sha256(raw).hexdigest(),
        references_sha256=hashlib.sha256(reference_bytes).hexdigest(),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        building.chmod(0o755)
        (building / manifest.weights_file).write_bytes(raw)
        (building / REFERENCES).write_bytes(reference_bytes)
        text = json.dumps(manifest.model_dump(mode="json", exclude_none=True), indent=2)
        (building / MANIFEST).write_text(text + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        building.replace(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return manifest


def _verify(path: Path, data: bytes, expected: str) -> None:
    """Compare a file with the manifest's hash of it."""
    if hashlib.sha256(data).hexdigest() != expected:
        raise BundleError(
            f"{path} is not the file that its manifest names (its sha256 differs). "
            "It is damaged or was changed: copy or export the bundle again."
        )
