"""An evaluation as JSON: stable keys, every number with its counts. docs/evaluation.md explains each."""

import json
import math
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from models.evaluation.closed_set import ClosedSet
from models.evaluation.conventions import conventions_of
from models.evaluation.face_pairs import PairTest
from models.evaluation.result import Evaluation
from models.evaluation.warnings import warnings_of
from models.metrics import Interval, OpenSet, Retrieval
from models.runtime import Encoder

__all__ = ["FORMAT", "as_json", "document"]

FORMAT = "lookalike-evaluation/1"


def as_json(encoder: Encoder, evaluation: Evaluation) -> bytes:
    """Return the document as indented JSON with a line end."""
    return (json.dumps(document(encoder, evaluation), indent=2, allow_nan=False) + "\n").encode()


def document(encoder: Encoder, evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain numbers and texts; nothing in it depends on the time or on paths."""
    manifest, images = encoder.manifest, evaluation.subject.images
    return {
        "format": FORMAT,
        "encoder": {
            "name": manifest.name,
            "fingerprint": manifest.fingerprint,
            "dimension": manifest.dimension,
            "normalize": manifest.normalize,
            "metric": manifest.metric,
            "engine": encoder.engine.name,
            "device": encoder.engine.device,
        },
        "data": {
            "dataset": evaluation.dataset,
            "split": evaluation.split,
            "form": images.form,
            "images": evaluation.images,
            "identities": evaluation.identities,
            "cameras": len(images.cameras) or None,
            "images_of_nobody": int((evaluation.subject.labels == -1).sum()),
        },
        "protocol": evaluation.protocol,
        "conventions": conventions_of(evaluation),
        "draws": evaluation.draws,
        "seed": evaluation.seed,
        **_figures(evaluation),
        "baseline": None if evaluation.baseline is None else _figures(evaluation.baseline),
        "warnings": warnings_of(evaluation),
        "not_measured": evaluation.not_measured,
        "versions": {
            "lookalike": version("lookalike"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    learning, calibration = evaluation.metric_learning, evaluation.calibration
    return {
        "retrieval": {each.name: _closed_set(each) for each in evaluation.closed_sets},
        "metric_learning": (
            None
            if learning is None
            else {**asdict(learning), "recall": {str(k): share for k, share in learning.recall.items()}}
        ),
        "verification": _verification(evaluation),
        "calibration": None if calibration is None else calibration.record(),
        "open_set": None if evaluation.open_set is None else _open_set(evaluation.open_set),
        "pairs": None if evaluation.pairs is None else _pairs(evaluation.pairs),
        "few_shot": {name: asdict(result) for name, result in evaluation.few_shot.items()},
        "reranking": {
            name: {"plain": _retrieval(each.plain), "reranked": _retrieval(each.reranked)}
            for name, each in evaluation.reranking.items()
        },
        "spread": {
            "cosine_same": evaluation.cosine_same,
            "cosine_different": evaluation.cosine_different,
        },
    }


def _closed_set(closed: ClosedSet) -> dict[str, Any]:
    return {
        **_retrieval(closed.mean),
        "rank_1_interval": _interval(closed.rank_1),
        "mean_average_precision_interval": _interval(closed.mean_average_precision),
        "draws_of_the_gallery": len(closed.searches),
    }


def _retrieval(result: Retrieval) -> dict[str, Any]:
    return {
        **{f"rank_{k}": share for k, share in result.rank.items()},
        "mean_average_precision": result.mean_average_precision,
        "mean_average_precision_trapezoid": result.mean_average_precision_trapezoid,
        "mean_inverse_negative_penalty": result.mean_inverse_negative_penalty,
        "queries": result.queries,
        "skipped": result.skipped,
        "gallery": result.gallery,
        "identities": result.identities,
        "positives": result.positives,
    }


def _verification(evaluation: Evaluation) -> dict[str, Any] | None:
    curve, calibration = evaluation.roc, evaluation.calibration
    if curve is None:
        return None
    points = () if calibration is None else calibration.thresholds
    return {
        "auc": curve.auc,
        "eer": curve.eer,
        "genuine_pairs": curve.genuine_pairs,
        "impostor_pairs": curve.impostor_pairs,
        "across_cameras": evaluation.subject.cameras is not None,
        "tar_at_far": {
            f"{point.far:g}": {
                "tar": point.tar,
                "tar_interval": None if point.tar_interval is None else _interval(point.tar_interval),
                "measured_far": point.measured_far,
                "threshold": point.threshold,
            }
            for point in points
        },
    }


def _open_set(result: OpenSet) -> dict[str, Any]:
    return {
        "dir_at_fpir": {
            f"{point.fpir:g}": {
                "threshold": point.threshold,
                "measured_fpir": point.measured_fpir,
                **{f"dir_{rank}": share for rank, share in point.dir.items()},
                "dir_1_interval": _interval(point.interval),
            }
            for point in result.points
        },
        "refused": {f"{fpir:g}": reason for fpir, reason in result.refused.items()},
        "mated": result.mated,
        "non_mated": result.non_mated,
        "identities": result.identities,
        "gallery": result.gallery,
    }


def _pairs(test: PairTest) -> dict[str, Any]:
    return {
        "accuracy": test.folds.accuracy,
        "standard_error": test.folds.standard_error,
        "accuracies": list(test.folds.accuracies),
        "thresholds": [at if math.isfinite(at) else None for at in test.folds.thresholds],  # None accepts all
        "folds_drawn": test.folds_drawn,
        "best_accuracy": test.best_accuracy,
        "auc": test.curve.auc,
        "eer": test.curve.eer,
        "pairs": test.folds.pairs,
        "genuine_pairs": test.curve.genuine_pairs,
        "impostor_pairs": test.curve.impostor_pairs,
        "tar_at_far": {
            f"{point.far:g}": {
                "tar": point.tar,
                "measured_far": point.measured_far,
                "threshold": point.threshold,
            }
            for point in (() if test.operating is None else test.operating.thresholds)
        },
    }


def _interval(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
