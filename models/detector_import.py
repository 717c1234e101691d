"""A face detector put into a bundle, so that it takes photographs."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from models.bundle import read_bundle, write_bundle
from models.errors import BundleError, OptionError
from models.faces import DetectorSpec, FaceChoice, Graph, kind_of, usual_score
from models.manifest import EncoderSpec, make_record
from models.runtime import Encoder, load_encoder

__all__ = ["DetectorOptions", "add_detector"]


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What is not in the detector's graph; None is "not given".

    Attributes:
        name: of the encoder with its detector; its own is kept.
        size: (height, width) of the detector's input, where the graph leaves it open.
        score: faces below it are not found; the kind's usual one.
        faces: which faces of a picture are meant unless a request says so.
    """

    name: str | None = None
    size: tuple[int, int] | None = None
    score: float | None = None
    faces: FaceChoice = "largest"


def add_detector(folder: Path, detector: Path, out: Path, options: DetectorOptions) -> Encoder:
    """Write a bundle's encoder as a bundle with a face detector, and load it back.

    What was measured stays, for it was measured on crops like those that the detector gives.

    Raises:
        BundleError: the bundle is damaged or cannot be written; the detector cannot be run, or gives no
            landmarks.
        OptionError: the input size is missing or not the graph's, or the encoder's input is not square.
    """
    bundle = read_bundle(folder)
    try:
        raw = detector.read_bytes()
    except OSError as error:
        raise BundleError(f"{detector} cannot be read: {error.strerror}.") from error
    graph = Graph(raw)
    size = _size(graph, options.size)
    kind = kind_of(graph, size)
    record = make_record(
        DetectorSpec,
        kind=kind,
        sha256=hashlib.sha256(raw).hexdigest(),
        height=size[0],
        width=size[1],
        score_threshold=usual_score(kind) if options.score is None else options.score,
        faces=options.faces,
    )
    stated = bundle.manifest.model_dump(include=set(EncoderSpec.model_fields))
    stated.update(
        name=options.name or stated["name"], detector=record, derived_from=bundle.manifest.fingerprint
    )
    spec = make_record(EncoderSpec, **stated)
    references = (bundle.inputs, bundle.outputs)
    write_bundle(out, spec, bundle.weights, references, reports=bundle.reports, detector=raw)
    return load_encoder(out, device="cpu")


def _size(graph: Graph, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """Return (height, width) as the graph fixes it, else as it is wanted."""
    if graph.size is None and wanted is None:
        raise OptionError("The detector leaves its input size open. Give one: --size 640x640, for example.")
    if graph.size is not None and wanted not in (None, graph.size):
        raise OptionError(f"The detector's input is {graph.size[0]}x{graph.size[1]}: leave --size out.")
    size = graph.size or wanted
    assert size is not None
    return size
