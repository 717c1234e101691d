"""One evaluation from pictures to figures."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from models.calibration import Calibration, Origin, calibrate
from models.datasets import ImageSet
from models.errors import InputError
from models.evaluation.characters import measure_few_shot
from models.evaluation.closed_set import closed_sets, reranked
from models.evaluation.embedding import embed, mean_cosines, untrained
from models.evaluation.face_pairs import measure_pairs
from models.evaluation.findable import check_findable
from models.evaluation.open_world import measure_open_set
from models.evaluation.result import Evaluation, EvaluationOptions
from models.evaluation.subject import Subject, choose_protocol, measured_by
from models.evaluation.warnings import was_trained_on
from models.metrics import PairDistances, metric_learning, pair_distances, roc
from models.runtime import Encoder

__all__ = ["evaluate", "measure"]

log = logging.getLogger(__name__)

Found = TypeVar("Found")

_NO_PAIRS = "This split has no file of pairs beside it; --split all takes pairs.txt."
_NO_LFW = (
    "LFW's protocol judges the pairs of a file, and this set comes with none. Give the path of such a file "
    "in the dataset's place, or measure by another protocol."
)


def evaluate(encoder: Encoder, images: ImageSet, options: EvaluationOptions | None = None) -> Evaluation:
    """Embed a set and measure everything that it allows, under the encoder's own metric.

    Args:
        encoder: one that nobody else calls meanwhile.
        images: the set.
        options: how; None is `EvaluationOptions()`.

    Raises:
        DatasetError: a picture that cannot be read or decoded.
        BundleError: the encoder gave NaN or infinity.
        InputError: no query has anything to find; the message says why.
        OptionError: no such protocol; a baseline of an ONNX graph.
    """
    options = options or EvaluationOptions()
    protocol = choose_protocol(images, options.protocol)  # what cannot be done is said before the long work
    check_findable(measured_by(images, protocol)[0])
    blank = untrained(encoder, options.seed) if options.baseline else None
    baseline = None
    if blank is not None:
        log.info("Measuring random weights of the same architecture.")
        baseline = measure(_subject(blank, images, options), options)
    found = measure(_subject(encoder, images, options), options, baseline=baseline)
    return replace(
        found,
        trained_on=was_trained_on(encoder.manifest.training, images),
        as_crops=encoder.manifest.detector is not None,
    )


def measure(
    subject: Subject, options: EvaluationOptions, *, baseline: Evaluation | None = None
) -> Evaluation:
    """Measure a set whose embeddings are known.

    Raises:
        InputError: as `evaluate`.
        OptionError: no such protocol.
    """
    protocol = choose_protocol(subject.images, options.protocol)
    whole, subject = subject, subject.measured_by(protocol)
    check_findable(subject.images)
    draws, seed = options.draws, options.seed
    closed = closed_sets(subject, protocol, draws=draws, seed=seed)
    missing: dict[str, str] = {}

    def tried(name: str, compute: Callable[[], Found]) -> Found | None:
        try:
            return compute()
        except InputError as error:
            missing[name] = str(error)
            return None

    if options.pairs is None and "lfw" in {subject.images.form, protocol}:
        missing["pairs"] = _NO_PAIRS if subject.images.form == "lfw" else _NO_LFW

    pairs = tried("verification", lambda: _pairs(subject))
    given = options.pairs
    plain = not subject.images.cameras and not subject.images.has_roles
    few_shot, refused = (
        measure_few_shot(subject, draws=draws, seed=seed) if protocol == "omniglot" else ({}, {})
    )
    missing |= refused
    same, different = tried(
        "spread", lambda: mean_cosines(subject.embeddings[subject.once], subject.known[subject.once])
    ) or (None, None)
    return Evaluation(
        subject=subject,
        protocol=protocol,
        closed_sets=closed,
        metric_learning=(
            metric_learning(subject.embeddings, subject.labels, metric=subject.metric)
            if plain or protocol == "metric-learning"
            else None
        ),
        roc=None if pairs is None else roc(pairs),
        calibration=None
        if pairs is None
        else tried("thresholds", lambda: _calibrate(subject, pairs, options)),
        open_set=tried("open_set", lambda: measure_open_set(subject, draws=draws, seed=seed)),
        pairs=tried("pairs", lambda: measure_pairs(whole, given, seed=seed)) if given else None,
        few_shot=few_shot,
        reranking=(
            tried("reranking", lambda: reranked(subject, closed, seed=seed)) or {} if options.rerank else {}
        ),
        baseline=baseline,
        cosine_same=same,
        cosine_different=different,
        not_measured=missing,
        draws=draws,
        seed=seed,
    )


def _subject(encoder: Encoder, images: ImageSet, options: EvaluationOptions) -> Subject:
    return Subject(images, embed(encoder, images, threads=options.threads), encoder.manifest.metric)


def _pairs(subject: Subject) -> PairDistances:
    """Compare all pairs of pictures, each picture once."""
    once = subject.once
    cameras = None if subject.cameras is None else subject.cameras[once]
    return pair_distances(
        subject.embeddings[once], subject.known[once], metric=subject.metric, cameras=cameras
    )


def _calibrate(subject: Subject, pairs: PairDistances, options: EvaluationOptions) -> Calibration:
    origin = Origin(subject.metric, subject.images.name, subject.images.split)
    return calibrate(pairs, origin, draws=options.draws, seed=options.seed)
