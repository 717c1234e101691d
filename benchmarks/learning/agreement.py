"""Our evaluation of public encoders beside one by Pillow, ONNX Runtime, NumPy and scikit-learn."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.learning.plain_figures import (
    RANKS,
    People,
    fold_accuracy,
    retrieval_figures,
    verification_figures,
)
from benchmarks.learning.records import Record
from benchmarks.plain_loop import PlainEncoder, Recipe
from benchmarks.real_sets import FACES, PERSONS
from models.datasets import read_pairs
from models.evaluation import Evaluation, EvaluationOptions, Subject, evaluate, read_subject
from models.evaluation.face_pairs import measure_pairs
from models.importing import ImportOptions, import_onnx

__all__ = ["TASKS", "Task", "compare_faces", "compare_persons", "our_retrieval", "our_verification"]

_FARS = (1e-1, 1e-2, 1e-3)
_FOLDS = 10
_DRAWS = 20  # of the intervals, which are not compared
_LFW_PAIRS = "pairsDevTrain.txt"
_QUICK_PAIRS = 50  # of one person; as many of two
_QUICK_PERSONS = 8


@dataclass(frozen=True, slots=True)
class Task:
    """Where the data is, and an empty folder to work in; quick takes a part of it."""

    data: Path
    work: Path
    quick: bool = False


def compare_faces(task: Task) -> Record:
    """Compare on LFW's pairsDevTrain.txt, which is also put into ten folds in the form of pairs.txt.

    Returns:
        `figures`: by name [ours, independent]; `largest`: the largest difference of two distances.
    """
    lines = (task.data / "lfw" / _LFW_PAIRS).read_text(encoding="utf-8").splitlines()[1:]
    genuine, impostor = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    if task.quick:
        genuine, impostor = genuine[:_QUICK_PAIRS], impostor[:_QUICK_PAIRS]
    folder = task.work / "lfw"
    folder.mkdir()
    (folder / "images").symlink_to(task.data / "lfw" / "images")
    _write_pairs(folder / _LFW_PAIRS, [(genuine, impostor)], f"{len(genuine)}")
    size = len(genuine) // _FOLDS
    blocks = [(genuine[at : at + size], impostor[at : at + size]) for at in range(0, _FOLDS * size, size)]
    _write_pairs(folder / "pairs.txt", blocks, f"{_FOLDS}\t{size}")

    evaluation = _evaluate(task, FACES, folder, "train")
    subject, pairs = evaluation.subject, read_pairs(folder)
    in_folds = measure_pairs(Subject(pairs.images, subject.embeddings, subject.metric), pairs)
    assert evaluation.pairs is not None
    test = evaluation.pairs
    assert test.operating is not None
    tar = {point.far: point.tar for point in test.operating.thresholds}
    ours = our_verification(test.curve.auc, test.curve.eer, tar, (len(genuine), len(impostor)))
    ours |= {
        "accuracy": in_folds.folds.accuracy,
        "accuracy, standard error": in_folds.folds.standard_error,
        **our_retrieval(evaluation),
    }

    plain = PlainEncoder(task.data / "encoders", FACES)
    faces = [*(_pair(folder, line) for line in genuine), *(_pair(folder, line) for line in impostor)]
    distances = np.array([_cosine(plain, one, other) for one, other in faces])
    same = np.arange(len(faces)) < len(genuine)
    figures = verification_figures(distances, same, list(tar))
    in_block = np.arange(_FOLDS * size)
    used = np.concatenate([in_block, len(genuine) + in_block])
    figures |= fold_accuracy(distances[used], same[used], np.tile(in_block // size, 2))
    paths = sorted({path for pair in faces for path in pair}, key=lambda path: (path.parent.name, path.stem))
    matrix = _distances(plain, paths)
    figures |= retrieval_figures(matrix, People([path.parent.name for path in paths]))
    return _record(ours, figures, _largest(evaluation, paths, matrix))


def compare_persons(task: Task) -> Record:
    """Compare on Market-1501's val, every picture against all others across cameras; see `compare_faces`."""
    folder = task.data / "market1501"
    with (folder / "images.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    if task.quick:
        wanted = sorted({row["identity"] for row in rows})[:_QUICK_PERSONS]
        rows = [row for row in rows if row["identity"] in wanted]
    view = task.work / "market1501"
    view.mkdir()
    with (view / "images.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ("path", "identity", "camera", "split"), extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    for name in {Path(row["path"]).parts[0] for row in rows}:
        (view / name).symlink_to(folder / name)

    evaluation = _evaluate(task, PERSONS, view, "val")
    assert evaluation.roc is not None
    assert evaluation.calibration is not None
    tar = {point.far: point.tar for point in evaluation.calibration.thresholds if point.far in _FARS}
    counts = (evaluation.roc.genuine_pairs, evaluation.roc.impostor_pairs)
    ours = our_retrieval(evaluation) | our_verification(evaluation.roc.auc, evaluation.roc.eer, tar, counts)

    paths = [view / row["path"] for row in rows]
    people = People([row["identity"] for row in rows], [row["camera"] for row in rows])
    matrix = _distances(PlainEncoder(task.data / "encoders", PERSONS), paths)
    figures = retrieval_figures(matrix, people)
    assert people.cameras is not None
    identities, cameras = np.array(people.identities), np.array(people.cameras)
    left, right = np.triu_indices(len(paths), 1)
    across = cameras[left] != cameras[right]
    left, right = left[across], right[across]
    figures |= verification_figures(matrix[left, right], identities[left] == identities[right], list(tar))
    return _record(ours, figures, _largest(evaluation, paths, matrix))


TASKS = {
    "MobileFaceNet on LFW's pairsDevTrain": compare_faces,
    "OSNet x0.25 on Market-1501's val": compare_persons,
}


def our_retrieval(evaluation: Evaluation) -> dict[str, float]:
    """Return our figures of the closed set by the names that `retrieval_figures` gives them."""
    (result,) = evaluation.directions.values()
    return {
        "queries": result.queries,
        **{f"rank-{k}": result.rank[k] for k in RANKS},
        "mAP (hits)": result.mean_average_precision,
        "mAP (hits), scikit-learn": result.mean_average_precision,
        "mAP (trapezoid)": result.mean_average_precision_trapezoid,
        "mINP": result.mean_inverse_negative_penalty,
    }


def our_verification(
    auc: float, eer: float, tar: Mapping[float, float], counts: tuple[int, int]
) -> dict[str, float]:
    """Return our figures of pairs by the names that `verification_figures` gives them."""
    return {
        "genuine pairs": counts[0],
        "impostor pairs": counts[1],
        "AUC": auc,
        "EER": eer,
        **{f"TAR at FAR {far:g}": share for far, share in tar.items()},
    }


def _evaluate(task: Task, recipe: Recipe, folder: Path, split: str) -> Evaluation:
    """Go the way that a user goes: import the graph, read the set, evaluate."""
    options = ImportOptions(
        name=Path(recipe.file).stem.replace("_", "-"),
        mean=recipe.mean,
        std=recipe.std,
        channels="rgb",
        normalize=True,
    )
    imported = import_onnx(task.data / "encoders" / recipe.file, task.work / "bundle", options)
    images, pairs = read_subject(folder, split)
    return evaluate(imported.encoder, images, EvaluationOptions(pairs=pairs, draws=_DRAWS))


def _write_pairs(path: Path, blocks: Sequence[tuple[list[str], list[str]]], head: str) -> None:
    lines = [head, *(line for genuine, impostor in blocks for line in (*genuine, *impostor))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pair(folder: Path, line: str) -> tuple[Path, Path]:
    """Return the two pictures of a line of LFW's: name number number, or name number name number."""
    words = line.split()
    first, second = (words[0], words[1]), (words[-2] if len(words) == 4 else words[0], words[-1])
    one, other = (
        folder / "images" / name / f"{name}_{int(number):04d}.jpg" for name, number in (first, second)
    )
    return one, other


def _cosine(plain: PlainEncoder, one: Path, other: Path) -> float:
    return 1.0 - float(np.sum(plain.embed(one) * plain.embed(other)))


def _distances(plain: PlainEncoder, paths: Sequence[Path]) -> npt.NDArray[np.float64]:
    rows = np.stack([plain.embed(path) for path in paths])
    return np.asarray(1.0 - rows @ rows.T)


def _largest(evaluation: Evaluation, paths: Sequence[Path], matrix: npt.NDArray[np.float64]) -> float:
    """Return the largest difference of a distance, of all pairs of pictures."""
    place = {sample.path: row for row, sample in enumerate(evaluation.subject.images.samples)}
    rows = evaluation.subject.embeddings[[place[path] for path in paths]].astype(np.float64)
    return float(np.abs(1.0 - rows @ rows.T - matrix).max())


def _record(ours: Mapping[str, float], plain: Mapping[str, float], largest: float) -> Record:
    assert ours.keys() == plain.keys()
    return {"figures": {name: [ours[name], plain[name]] for name in ours}, "largest": largest}
