"""The conventions that figures follow, as sentences for a report."""

from models.evaluation.result import Evaluation

__all__ = ["conventions_of"]

_PROTOCOLS = {
    "re-identification": "Closed-set re-identification: CMC and mAP, with the junk rule below.",
    "vehicleid": (
        "VehicleID: one random picture of each identity is the gallery, all others are queries; the mean "
        "over ten seeded draws."
    ),
    "lfw": "LFW: verification of the pairs of a file, and every picture against all others.",
    "omniglot": (
        "Omniglot: one-shot trials of 20 characters of one alphabet, drawn by two people; 1,000 episodes "
        "over all characters; and every picture against all others."
    ),
    "metric-learning": "Metric learning: R@k and MAP@R, for which every picture queries all others.",
}


def conventions_of(evaluation: Evaluation) -> dict[str, str]:
    """Return by a short name what each convention is."""
    across = evaluation.subject.cameras is not None
    roles = evaluation.subject.images.has_roles
    answers = {
        "protocol": _PROTOCOLS[evaluation.protocol],
        "distance": f"{evaluation.subject.metric}; smaller is closer, and equal distances keep their order.",
        "junk": (
            "Before ranking, gallery pictures of the query's identity from its own camera are removed, and "
            "pictures of nobody (-1)."
            if across
            else "Cameras are unknown: a query is removed from its own gallery, and pictures of nobody (-1)."
        ),
        "average precision": (
            "The sum of the precisions at each hit over the number of positives (hits), as torchreid and "
            "fast-reid have it; the JSON also gives the official Market-1501 script's (trapezoid)."
        ),
        "skipped": "Queries without a positive in the gallery are left out of every mean, and counted.",
        "accepted": (
            "A pair is accepted where its distance is below the threshold. For a FAR f and n impostor pairs "
            "the threshold is the k-th smallest impostor distance counted from 0, k = floor(f n)."
        ),
        "pairs": (
            f"All pairs of {'pictures of two cameras' if across else 'two pictures'}, each once"
            f"{'; identities without a query form none.' if roles else '.'}"
        ),
        "open set": (
            "Half of the identities are enrolled by one random picture each; the probes are "
            + ("the queries" if roles else "all other pictures")
            + (", but for those of the enrolled picture's identity and camera." if across else ".")
        ),
        "intervals": (
            f"95 %, by a bootstrap over identities (few-shot: over the classes asked for) with "
            f"{evaluation.draws:,} draws, seed {evaluation.seed}."
        ),
    }
    if evaluation.pairs is not None:
        answers["folds"] = (
            f"The file of pairs is one block: {len(evaluation.pairs.folds.accuracies)} folds are drawn; each "
            "is judged by the threshold that is best on all others."
            if evaluation.pairs.folds_drawn
            else "Each fold is judged by the threshold that is best on all others; mean and standard error."
        )
    if evaluation.reranking:
        answers["re-ranking"] = (
            "k-reciprocal, k1 = 20, k2 = 6, weight 0.3. Where every picture queries all others, one picture "
            "of each identity in each camera is drawn as a query, and the others are its gallery."
        )
    return answers
