"""Calibration: which threshold gives a wanted false acceptance rate, and how sure that is.

It is measured on labelled pairs, and travels as plain numbers with an encoder or a collection.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from models.distances import Metric, as_row_metric
from models.errors import InputError
from models.metrics import Interval, PairDistances, operating_intervals, pairs_needed, tar_at_far

__all__ = ["CalibratedThreshold", "Calibration", "Origin", "calibrate", "implied_fpir"]

_FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_SAME_RATE = 1e-9
_SPARE = 2  # most draws reach no farther among the smallest distances than twice what all pairs do

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Wanted = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Origin:
    """What a calibration is measured on.

    Attributes:
        metric: a row metric, that of the distances.
        dataset, split: the name of the set, and which part of it.
    """

    metric: Metric | str
    dataset: str
    split: str


@dataclass(frozen=True)
class CalibratedThreshold:
    """The threshold for one false acceptance rate.

    Attributes:
        far: as it was asked for.
        threshold: accepted means d < threshold; the rule is `metrics.threshold_at`.
        interval: of the threshold, by a bootstrap over identities; None where identities are unknown, or a
            draw needs more of the smallest impostor distances than were kept.
        measured_far: the share of impostor pairs accepted, at most far; less where distances are tied.
        tar: the share of genuine pairs accepted.
        tar_interval: of it, likewise.
        implied_fpir: `implied_fpir(far, gallery)` for the set's own gallery, as if its comparisons were
            independent.
        measured_fpir: the share of pictures that some impostor of the set is accepted for, which is what that
            becomes: probes that are like one enrolled picture are like others too. None, both, without a set.
    """

    far: _Wanted
    threshold: _Number
    interval: Interval | None
    measured_far: _Share
    tar: _Share
    tar_interval: Interval | None
    implied_fpir: _Share | None
    measured_fpir: _Share | None


@dataclass(frozen=True)
class Calibration:
    """Thresholds by false acceptance rate, and what they were measured on.

    Attributes:
        metric, p: the name of the metric, and its order (2 but for `minkowski`).
        dataset, split: the set.
        genuine_pairs, impostor_pairs: how many there are.
        identities: how many there are; None where that is unknown.
        probes: how many pictures the false positive identification rates are over; 0 without a set.
        gallery: how many impostors each of those is compared with, on average; 0 without a set.
        thresholds: by falling FAR.
    """

    metric: str
    p: _Number
    dataset: str
    split: str
    genuine_pairs: _Count
    impostor_pairs: _Count
    identities: _Count | None
    probes: Annotated[int, Field(ge=0)]
    gallery: Annotated[int, Field(ge=0)]
    thresholds: Annotated[tuple[CalibratedThreshold, ...], Field(min_length=1)]

    def at(self, far: float) -> CalibratedThreshold:
        """Return the threshold that was calibrated for this FAR; nothing is interpolated.

        Raises:
            InputError: it was not; the message says which were.
        """
        for threshold in self.thresholds:
            if math.isclose(threshold.far, far, rel_tol=_SAME_RATE):
                return threshold
        known = ", ".join(f"{threshold.far:g}" for threshold in self.thresholds)
        raise InputError(
            f"There is no threshold for a false acceptance rate of {far:g}; it is calibrated for {known}.",
            argument="far",
        )

    def record(self) -> dict[str, Any]:
        """Return it as plain numbers and texts, for JSON; `from_record` reads it back unchanged."""
        return {**asdict(self), "thresholds": [asdict(threshold) for threshold in self.thresholds]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the calibration of a record.

        Raises:
            InputError: it is none: a key is missing, unknown, or holds what it must not.
        """
        try:
            calibration = _adapter().validate_json(json.dumps(record, allow_nan=False), strict=True)
            as_row_metric(Metric(calibration.metric, calibration.p))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(f"This is no calibration record: {place}: {first['msg']}.") from error
        except (TypeError, ValueError) as error:
            raise InputError(f"This is no calibration record: {error}") from error
        if calibration.record() != json.loads(json.dumps(record)):  # what it does not know it would drop
            raise InputError("This is no calibration record: it has keys that a calibration has not.")
        return cls(**vars(calibration))


def calibrate(
    pairs: PairDistances,
    origin: Origin,
    *,
    fars: Sequence[float] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Find the threshold for each wanted false acceptance rate.

    Args:
        pairs: from `metrics.pair_distances`, or from `metrics.given_pairs`, which gives no intervals.
        origin: what they are of.
        fars: the wanted rates; None: those of 1e-1, 1e-2 ... 1e-6 that there are pairs enough for, and enough
            of the smallest distances kept.
        draws: of the bootstrap over identities; its time grows with far x impostor pairs x draws.
        seed: of these draws.

    Raises:
        InputError: no rate, one outside (0, 1), or one that needs more pairs; the message says how many.
    """
    if fars is None:
        fars = [far for far in _FARS if _fits(pairs, far)] or _FARS[:1]
    if not fars:
        raise InputError("A calibration needs at least one rate to find a threshold for.", argument="fars")
    metric = as_row_metric(origin.metric)
    identities = pairs.identities
    return Calibration(
        metric=metric.name,
        p=metric.p,
        dataset=origin.dataset,
        split=origin.split,
        genuine_pairs=len(pairs.genuine),
        impostor_pairs=pairs.impostors,
        identities=None if identities is None else len(identities.images),
        probes=len(pairs.nearest),
        gallery=_gallery(pairs),
        thresholds=tuple(
            _calibrated(pairs, far, draws=draws, seed=seed) for far in sorted(set(fars), reverse=True)
        ),
    )


def implied_fpir(far: float, gallery: int) -> float:
    """Return 1 - (1 - FAR)^G: how often a probe of nobody enrolled is accepted for one of G items.

    It holds if the G comparisons were independent. They are not: what is like one item is like others too, so
    the measured rate is mostly lower.

    Args:
        far: in [0, 1].
        gallery: G, >= 0.

    Raises:
        InputError: numbers outside these ranges.
    """
    if not 0 <= far <= 1 or gallery < 0:
        raise InputError(f"A FAR is from 0 to 1 and a gallery has 0 items or more, not {far} and {gallery}.")
    if far == 1:
        return 1.0 if gallery else 0.0
    return -math.expm1(gallery * math.log1p(-far))  # keeps its digits where FAR is tiny


def _fits(pairs: PairDistances, far: float) -> bool:
    """Return whether a rate can be had of these pairs, and most likely of the draws of its bootstrap."""
    enough = pairs.impostors >= pairs_needed(far)
    all_kept = len(pairs.impostor) == pairs.impostors
    return enough and (all_kept or len(pairs.impostor) > _SPARE * far * pairs.impostors)


def _calibrated(pairs: PairDistances, far: float, *, draws: int, seed: int) -> CalibratedThreshold:
    point = tar_at_far(pairs, far)
    known = pairs.identities is not None
    intervals = operating_intervals(pairs, far, draws=draws, seed=seed) if known else None
    interval, tar_interval = intervals or (None, None)
    measured = implied = None
    if len(pairs.nearest):
        measured = float(np.mean(pairs.nearest < point.threshold))
        implied = implied_fpir(far, _gallery(pairs))
    return CalibratedThreshold(
        far=far,
        threshold=point.threshold,
        interval=interval,
        measured_far=point.measured_far,
        tar=point.tar,
        tar_interval=tar_interval,
        implied_fpir=implied,
        measured_fpir=measured,
    )


def _gallery(pairs: PairDistances) -> int:
    return round(float(pairs.compared.mean())) if len(pairs.compared) else 0


@cache
def _adapter() -> TypeAdapter[Calibration]:
    return TypeAdapter(Calibration)
