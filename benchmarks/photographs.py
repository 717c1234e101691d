"""Measure faces in whole photographs beside the same faces as aligned crops, into docs/benchmarks.md.

    python -m benchmarks.photographs                    as make bench-photographs
    python -m benchmarks.photographs --quick            the first people only; prints only
    python -m benchmarks.photographs --document PATH    writes into another file

The encoder is the same; the photographs go through the detector and the alignment of the bundle first.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from benchmarks.core.document import put_section
from benchmarks.core.figures import table
from benchmarks.core.machine import describe_machine, describe_versions
from models.detector_import import DetectorOptions, add_detector
from models.images import decode
from models.importing import ImportOptions, import_encoder
from models.runtime import Encoder
from tests.data import DATA

__all__ = [
    "CROPS",
    "PHOTOGRAPHS",
    "STRETCHED",
    "Measured",
    "Pair",
    "bundle",
    "measure",
    "pairs",
    "rank_1",
    "render",
]

CROPS = "aligned crops"
PHOTOGRAPHS = "photographs, detected and aligned"
STRETCHED = "photographs, resized as they are"

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_AIM = 0.01
_QUICK_PEOPLE = 12

_HOW = """\
## Faces in photographs

{date}, `make bench-photographs`. {machine}. {versions}.

{pictures} pictures of {people} people, once as whole photographs (250 x 250) and once cropped and aligned by
those who prepared the set (112 x 112). MobileFaceNet embeds both; the photographs go through a RetinaFace
(MobileNet0.25, 640 x 640) and our alignment first, by the largest face. Each picture is a query among all the
others: rank-1 is the share whose nearest one shows the same person. A photograph without a face counts as
missed. The time is what one core computes to find, align and measure the faces of one decoded photograph.
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture as a photograph and as an aligned crop."""

    person: str
    photograph: Path
    crop: Path


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found.

    Attributes:
        rank_1: by form.
        pictures, people: how many were compared.
        without_face: photographs in which no face was found.
        cosine: the mean between a photograph's embedding and its crop's.
        seconds: that one core computed to find the faces of each photograph.
    """

    rank_1: Mapping[str, float]
    pictures: int
    people: int
    without_face: int
    cosine: float
    seconds: Sequence[float]

    @property
    def lost(self) -> float:
        """Return how much lower the rank-1 of photographs is than that of crops."""
        return self.rank_1[CROPS] - self.rank_1[PHOTOGRAPHS]


def pairs(data: Path, *, quick: bool) -> list[Pair]:
    """Return the pictures that are there in both forms, of people with two or more."""
    folders = sorted(folder for folder in (data / "faces_in_photos").iterdir() if folder.is_dir())
    found: list[Pair] = []
    for folder in folders[: _QUICK_PEOPLE if quick else None]:
        crops = data / "lfw" / "images" / folder.name
        own = [Pair(folder.name, path, crops / path.name) for path in sorted(folder.glob("*.jpg"))]
        own = [one for one in own if one.crop.is_file()]
        found += own if len(own) > 1 else []
    return found


def bundle(data: Path, folder: Path) -> Encoder:
    """Make and load the bundle of encoder and detector."""
    options = ImportOptions(name="faces", mean=(127.5,), std=(128.0,), channels="rgb", normalize=True)
    import_encoder(data / "encoders" / "mobilefacenet_112.onnx", folder / "crops", options)
    detector = data / "encoders" / "retinaface_mobile025.onnx"
    return add_detector(folder / "crops", detector, folder / "photographs", DetectorOptions())


def measure(encoder: Encoder, all_pairs: Sequence[Pair]) -> Measured:
    """Embed every picture in each form and compare."""
    assert encoder.faces is not None
    spec = encoder.manifest.input
    size, nothing = (spec.height, spec.width), np.zeros(encoder.manifest.dimension, dtype=np.float32)
    rows: dict[str, list[npt.NDArray[np.float32]]] = {CROPS: [], PHOTOGRAPHS: [], STRETCHED: []}
    seconds: list[float] = []
    missed = 0
    for one in all_pairs:
        file = one.photograph.read_bytes()
        picture = decode(file)
        started = time.thread_time()
        crops = encoder.faces.find(picture, "largest").crops
        seconds.append(time.thread_time() - started)
        missed += not crops
        rows[PHOTOGRAPHS].append(encoder.encode(crops[0][None])[0] if crops else nothing)
        rows[CROPS].append(encoder.encode(decode(one.crop.read_bytes(), size)[None])[0])
        rows[STRETCHED].append(encoder.encode(decode(file, size)[None])[0])
    people = [one.person for one in all_pairs]
    embeddings = {form: np.stack(of_form) for form, of_form in rows.items()}
    cosines = (embeddings[CROPS] * embeddings[PHOTOGRAPHS]).sum(axis=1)
    return Measured(
        {form: rank_1(of_form, people) for form, of_form in embeddings.items()},
        len(all_pairs),
        len(set(people)),
        missed,
        float(cosines.sum() / max(1, len(cosines) - missed)),
        seconds,
    )


def rank_1(embeddings: npt.NDArray[np.float32], people: Sequence[str]) -> float:
    """Return the share of rows whose nearest other row, by the cosine, is of the same person.

    Args:
        embeddings: (N, D), of unit length; a row of zeros is missed.
        people: of the N rows.
    """
    similarities = embeddings @ embeddings.T
    np.fill_diagonal(similarities, -np.inf)
    nearest = similarities.argmax(axis=1)
    hits = [people[row] == people[other] for row, other in enumerate(nearest)]
    return float(np.mean(np.array(hits) & embeddings.any(axis=1)))


def render(measured: Measured) -> str:
    """Return the section as Markdown."""
    how = _HOW.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=describe_machine("cpu", 1),
        versions=describe_versions(),
        pictures=measured.pictures,
        people=measured.people,
    )
    rows = [
        [form, f"{share:.4f}", f"{round(share * measured.pictures)} of {measured.pictures}"]
        for form, share in measured.rank_1.items()
    ]
    facts = (
        f"No face was found in {measured.without_face} photographs. The cosine between a photograph's "
        f"embedding and its crop's is {measured.cosine:.3f} on average. A photograph takes "
        f"{1000 * median(measured.seconds):.0f} ms (median)."
    )
    verdict = (
        f"Aimed at: at most {100 * _AIM:g} point below the crops: {100 * measured.lost:+.2f} points, "
        f"{'met' if measured.lost <= _AIM else '**missed**'}."
    )
    return f"{how}\n{table(['', 'rank-1', 'queries'], rows)}\n\n{facts}\n\n{verdict}\n"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="the first people only; prints only")
    parser.add_argument("--document", type=Path, default=_DOCUMENT, help="the file to write into")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write(f"The real pictures and encoders are not in {DATA}; see docs/testing.md.\n")
        return 1
    with tempfile.TemporaryDirectory() as work:
        measured = measure(bundle(DATA, Path(work)), pairs(DATA, quick=options.quick))
    text = render(measured)
    sys.stdout.write(text)
    if not options.quick:
        put_section(options.document, "bench-photographs", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
