"""One evaluation from pictures to figures."""

import logging
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from models.calibration import Calibration, Origin, calibrate
from models.datasets import ImageSet
from models.errors import InputError
from models.evaluation.characters import measure_few_shot
from models.evaluation.closed_set import closed_sets, reranked
from models.evaluation.embedding import embed, mean_cosines, untrained
from models.evaluation.face_pairs import measure_pairs
from models.evaluation.open_world import measure_open_set
from models.evaluation.result import Evaluation, EvaluationOptions
from models.evaluation.subject import Subject, choose_protocol
from models.metrics import PairDistances, metric_learning, pair_distances, roc
from models.runtime import Encoder

__all__ = ["evaluate", "measure"]

log = logging.getLogger(__name__)

Found = TypeVar("Found")

_WITHOUT_CAMERAS = frozenset({"vehicleid", "metric-learning"})


def evaluate(encoder: Encoder, images: ImageSet, options: EvaluationOptions | None = None) -> Evaluation:
    """Embed a set and measure everything that it allows, under the encoder's own metric.

    Args:
        encoder: one that nobody else calls meanwhile.
        images: the set.
        options: how; None is `EvaluationOptions()`.

    Raises:
        DatasetError: a picture that cannot be read or decoded.
        BundleError: the encoder gave NaN or infinity.
        InputError: no identity has pictures of two cameras (or, these unknown, two pictures).
        OptionError: no such protocol; a baseline of an ONNX graph.
    """
    options = options or EvaluationOptions()
    choose_protocol(images, options.protocol)  # what cannot be done is said before the long work
    blank = untrained(encoder, options.seed) if options.baseline else None
    baseline = None
    if blank is not None:
        log.info("Measuring random weights of the same architecture.")
        baseline = measure(_subject(blank, images, options), options)
    return measure(_subject(encoder, images, options), options, baseline=baseline)


def measure(
    subject: Subject, options: EvaluationOptions, *, baseline: Evaluation | None = None
) -> Evaluation:
    """Measure a set whose embeddings are known.

    Raises:
        InputError: as `evaluate`.
        OptionError: no such protocol.
    """
    protocol = choose_protocol(subject.images, options.protocol)
    if protocol in _WITHOUT_CAMERAS:
        subject = subject.without_cameras()
    draws, seed = options.draws, options.seed
    closed = closed_sets(subject, protocol, draws=draws, seed=seed)
    missing: dict[str, str] = {}

    def tried(name: str, compute: Callable[[], Found]) -> Found | None:
        try:
            return compute()
        except InputError as error:
            missing[name] = str(error)
            return None

    if subject.images.form == "lfw" and options.pairs is None:
        missing["pairs"] = "This split has no file of pairs beside it; --split all takes pairs.txt."

    pairs = tried("verification", lambda: _pairs(subject))
    given = options.pairs
    plain = not subject.images.cameras and not subject.images.has_roles
    same, different = mean_cosines(subject.embeddings, subject.known)
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
        open_set=tried("open_set", lambda: measure_open_set(subject, seed=seed)),
        pairs=tried("pairs", lambda: measure_pairs(subject, given, seed=seed)) if given else None,
        few_shot=(
            tried("few_shot", lambda: measure_few_shot(subject, draws=draws, seed=seed)) or {}
            if protocol == "omniglot"
            else {}
        ),
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
    """Compare all pairs of pictures, each picture once: VeRi-776's queries are in its gallery too."""
    paths = np.array([str(sample.path) for sample in subject.images.samples])
    once = np.sort(np.unique(paths, return_index=True)[1])
    cameras = None if subject.cameras is None else subject.cameras[once]
    return pair_distances(
        subject.embeddings[once], subject.known[once], metric=subject.metric, cameras=cameras
    )


def _calibrate(subject: Subject, pairs: PairDistances, options: EvaluationOptions) -> Calibration:
    origin = Origin(subject.metric, subject.images.name, subject.images.split)
    return calibrate(pairs, origin, draws=options.draws, seed=options.seed)
