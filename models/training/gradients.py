"""The gradient of a batch's loss, whatever the batch was cut into."""

from torch import Tensor, nn

from models.errors import NonFiniteError
from models.training.batches import Batch
from models.training.caching import encode
from models.training.objective import Losses
from models.training.parts import Parts
from models.training.ranks import Ranks

__all__ = ["backpropagate", "clip"]


def backpropagate(parts: Parts, batch: Batch, chunk: int | None, ranks: Ranks) -> tuple[Losses, Tensor]:
    """Leave in the parameters the gradient of the batch's loss, the same on every rank.

    The embeddings are cut off from the network, so that the loss sees those of all chunks and all ranks. The
    gradient with respect to them then goes back through what this rank encoded, and the ranks' gradients
    are summed: that is the gradient of one process which encodes the whole batch at once.

    Args:
        parts: the network and the losses. Under float16 the gradient is the scaler's.
        batch: this rank's pictures, and all labels.
        chunk: how many pictures go through the network at once, at most; None is all.
        ranks: the processes that train together.

    Returns:
        The losses, and (P K, D) the embeddings that the triplet loss compared, without a graph.

    Raises:
        NonFiniteError: NaN or infinity in the embeddings.
        InterruptedWorkError: another rank has ended.
    """
    parts.optimizer.zero_grad()
    own, backward = encode(parts.network, parts.embed, batch.x, chunk)
    embeddings = ranks.gather(own).requires_grad_()  # (P K, D)
    losses = parts.objective(embeddings, batch.labels)
    parts.scaler.scale(losses.total).backward()
    assert embeddings.grad is not None
    backward(embeddings.grad[ranks.share(len(embeddings))])
    ranks.sum_gradients(parts.own_parameters(), whole=parts.objective.parameters())
    return losses, embeddings.detach()


def clip(parts: Parts, norm: float) -> Tensor:
    """Cut the gradient in the parameters to a norm, in place, and return the norm () that it had.

    Under float16 an infinite one is let pass: the scaler leaves that step out and lowers the scale.

    Args:
        parts: whose parameters have a gradient.
        norm: the largest that is left, > 0.

    Raises:
        NonFiniteError: NaN or infinity in the gradient, before it is in the weights.
    """
    parts.scaler.unscale_(parts.optimizer)
    found = nn.utils.clip_grad_norm_(parts.parameters(), norm)
    if not parts.scaler.is_enabled() and not bool(found.isfinite()):
        raise NonFiniteError(
            f"The gradient's norm is {float(found)}: training diverged. Take a lower learning rate or a "
            "longer warm-up."
        )
    return found
