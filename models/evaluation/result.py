"""What an evaluation found, as objects with the counts behind every figure."""

from dataclasses import dataclass
from typing import Any

from models.calibration import Calibration
from models.datasets import Pairs
from models.errors import OptionError
from models.evaluation.closed_set import ClosedSet, Reranking
from models.evaluation.face_pairs import PairTest
from models.evaluation.subject import Protocol, Subject
from models.metrics import FewShot, Interval, MetricLearning, OpenSet, Retrieval, Roc

__all__ = ["Evaluation", "EvaluationOptions"]

_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to evaluate.

    Attributes:
        protocol: one of `subject.PROTOCOLS`; "auto" is the set's own.
        pairs: LFW's, whose pictures the set is; None where there are none.
        rerank: measure k-reciprocal re-ranking beside the plain ranking.
        baseline: measure random weights of the same architecture beside.
        draws: how often a bootstrap draws identities.
        seed: of everything that is drawn.
        threads: that decode pictures.

    Raises:
        OptionError: draws or threads below 1, or a seed below 0.
    """

    protocol: Protocol | str = "auto"
    pairs: Pairs | None = None
    rerank: bool = False
    baseline: bool = False
    draws: int = 1000
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("seed", 0), ("threads", 1)):
            if (value := getattr(self, name)) < least:
                raise OptionError(f"{name} is {value}; it must be {least} or more.", argument=name)


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """How good an encoder is on one split.

    Attributes:
        subject: the set and its embeddings, to look into.
        protocol: what it was measured by.
        closed_sets: closed-set retrieval. "1 -> 2" takes the pictures of camera 1 as queries and those of
            camera 2 as the gallery, "query -> gallery" takes what the set says, and "all" takes every picture
            against all others, except those of its identity from its own camera (junk).
        metric_learning: R@k and MAP@R, where cameras are unknown and no roles are given.
        roc: of all pairs of pictures (of two cameras, where cameras are known).
        calibration: the thresholds for those FARs that there are impostor pairs enough for, from the same
            pairs, with TAR and intervals.
        open_set: DIR at FPIR.
        pairs: LFW's protocol.
        few_shot: by the keys of `characters.FEW_SHOT`.
        reranking: by the direction, where it was asked for.
        baseline: random weights of the same architecture on the same set, where that was asked for.
        cosine_same, cosine_different: the mean cosine similarity of two pictures of one identity, and of two.
            Both near 1 is a collapse, however good the ranks look.
        not_measured: for what could not be measured on this set, why.
        trained_on: whether the encoder has seen pictures of the set in training, as far as names tell.
        as_crops: whether the encoder finds faces in photographs, and did not here: pictures were crops.
        draws, seed: of every bootstrap and every draw.
    """

    subject: Subject
    protocol: Protocol
    closed_sets: tuple[ClosedSet, ...]
    metric_learning: MetricLearning | None = None
    roc: Roc | None = None
    calibration: Calibration | None = None
    open_set: OpenSet | None = None
    pairs: PairTest | None = None
    few_shot: dict[str, FewShot]
    reranking: dict[str, Reranking]
    baseline: "Evaluation | None" = None
    cosine_same: float | None
    cosine_different: float | None
    not_measured: dict[str, str]
    trained_on: bool = False
    as_crops: bool = False
    draws: int
    seed: int

    @property
    def dataset(self) -> str:
        """Return the name of the set."""
        return self.subject.images.name

    @property
    def split(self) -> str:
        """Return which part of the set it is."""
        return self.subject.images.split

    @property
    def images(self) -> int:
        """Return how many pictures there are."""
        return len(self.subject.images)

    @property
    def identities(self) -> int:
        """Return how many identities there are."""
        return len(self.subject.images.identities)

    @property
    def directions(self) -> dict[str, Retrieval]:
        """Return closed-set retrieval by direction; of drawn galleries, the mean."""
        return {each.name: each.mean for each in self.closed_sets}

    def record(self) -> dict[str, Any]:
        """Return it as plain numbers for a bundle's manifest, rounded to what the counts can tell."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": self.images,
            "identities": self.identities,
            "protocol": self.protocol,
            "retrieval": {each.name: _retrieval(each) for each in self.closed_sets},
            "verification": self._verification(),
            "few_shot": {
                name: {
                    "accuracy": round(result.accuracy, _DIGITS),
                    "accuracy_interval": _ends(result.interval),
                    "trials": result.trials,
                    "queries": result.queries,
                }
                for name, result in self.few_shot.items()
            },
            "cosine_same": None if self.cosine_same is None else round(self.cosine_same, _DIGITS),
            "cosine_different": (
                None if self.cosine_different is None else round(self.cosine_different, _DIGITS)
            ),
        }

    def _verification(self) -> dict[str, Any] | None:
        if self.roc is None:
            return None
        points = () if self.calibration is None else self.calibration.thresholds
        return {
            "auc": round(self.roc.auc, _DIGITS),
            "eer": round(self.roc.eer, _DIGITS),
            "tar_at_far": {f"{point.far:g}": round(point.tar, _DIGITS) for point in points},
            "genuine_pairs": self.roc.genuine_pairs,
            "impostor_pairs": self.roc.impostor_pairs,
        }


def _retrieval(closed: ClosedSet) -> dict[str, Any]:
    mean = closed.mean
    return {
        **{f"rank_{k}": round(share, _DIGITS) for k, share in mean.rank.items()},
        "rank_1_interval": _ends(closed.rank_1),
        "mean_average_precision": round(mean.mean_average_precision, _DIGITS),
        "mean_average_precision_interval": _ends(closed.mean_average_precision),
        "queries": mean.queries,
        "skipped": mean.skipped,
        "gallery": mean.gallery,
    }


def _ends(interval: Interval) -> list[float]:
    return [round(interval.low, _DIGITS), round(interval.high, _DIGITS)]
