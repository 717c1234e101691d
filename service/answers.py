"""What REST and the command line answer alike, from the results of the numeric core."""

from typing import Any

from torch import Tensor

from models.comparing import Comparing
from models.errors import NoTripletError
from models.losses import BatchLoss, ExplicitLoss

__all__ = ["batch_answer", "distances_answer", "require_triplets", "triplet_answer"]


def distances_answer(distances: Tensor, how: Comparing) -> dict[str, Any]:
    """Return the answer to a request for distances, reduced where that was asked for."""
    return {"metric": how.metric.name, "shape": list(distances.shape), "distances": _numbers(distances)}


def triplet_answer(result: ExplicitLoss, reduction: str) -> dict[str, Any]:
    """Return the answer to given triplets, but the gradients."""
    return {"loss": _numbers(result.loss), "reduction": reduction, **_counts(result)}


def batch_answer(result: BatchLoss, *, listed: bool) -> dict[str, Any]:
    """Return the answer to a labelled batch, but the gradients; with its triplets if they are listed."""
    answer = {
        "loss": _numbers(result.loss),
        "mining": result.mining,
        "reduction": result.reduction,
        **_counts(result),
        "easy": result.easy,
        "semi_hard": result.semi_hard,
        "hard": result.hard,
        "skipped_anchors": result.skipped_anchors,
        "collapsed": result.collapsed,
    }
    return {**answer, "triplets": result.triplets} if listed else answer


def require_triplets(result: BatchLoss) -> None:
    """Raise NoTripletError where no triplet could be formed: whoever asks for a loss wants to know."""
    if result.valid_triplets == 0:
        raise NoTripletError(
            "No triplet can be formed: it takes a label with two or more embeddings and one embedding of "
            "another label. Check the labels, or sample batches with several embeddings a label.",
            argument="labels",
        )


def _counts(result: BatchLoss | ExplicitLoss) -> dict[str, Any]:
    return {
        "valid_triplets": result.valid_triplets,
        "active_triplets": result.active_triplets,
        "fraction_active": result.fraction_active,
    }


def _numbers(values: Tensor) -> Any:
    """Return a number, or an array where there are several."""
    return values.detach().numpy() if values.ndim else values.item()
