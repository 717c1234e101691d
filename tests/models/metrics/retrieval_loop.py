"""A plain loop over queries in stable order: what retrieval is held against."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.metrics import Labels

__all__ = ["Found", "loop"]


@dataclass
class Found:
    """What a loop finds, query by query of those that have a positive."""

    queries: list[int] = field(default_factory=list)
    ranks: list[list[int]] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)
    trapezoid: list[float] = field(default_factory=list)


def official_average_precision(relevant: list[bool]) -> float:
    """Walk down a ranking as Market-1501's script does: recall steps times the mean of two precisions."""
    average, recall_before, precision_before, found = 0.0, 0.0, 1.0, 0
    for place, is_hit in enumerate(relevant):
        found += is_hit
        recall, precision = found / sum(relevant), found / (place + 1)
        average += (recall - recall_before) * (precision_before + precision) / 2
        recall_before, precision_before = recall, precision
    return average


def loop(
    distances: npt.NDArray[np.floating],
    identities: tuple[Labels, Labels],
    cameras: tuple[Labels, Labels] | None = None,
    junk: Labels | None = None,
) -> Found:
    """Rank the gallery for each query that has a positive."""
    found = Found()
    for q, row in enumerate(distances.tolist()):
        relevant = []
        for g in sorted(range(len(row)), key=lambda g: (row[g], g)):
            same = bool(identities[1][g] == identities[0][q])
            own_camera = cameras is not None and cameras[1][g] == cameras[0][q]
            removed = identities[1][g] == -1 or (same and own_camera) or (junk is not None and junk[q] == g)
            if not removed:
                relevant.append(same)
        if any(relevant):
            ranks = [place for place, is_hit in enumerate(relevant, start=1) if is_hit]
            found.queries.append(q)
            found.ranks.append(ranks)
            found.hits.append(sum(n / place for n, place in enumerate(ranks, start=1)) / len(ranks))
            found.trapezoid.append(official_average_precision(relevant))
    return found
