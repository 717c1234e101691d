"""Several processes that train one network: each encodes its share of a batch, the loss sees all of it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch import distributed as dist

from models.errors import InterruptedWorkError, OptionError

__all__ = ["ALONE", "Ranks", "joined"]

_BUCKET = 2**23  # numbers summed at once: 32 MiB, large enough that few messages are sent


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, as one of them sees them. Alone, every method returns what it is given.

    Attributes:
        rank: this process's number; 0 is the one that writes.
        world: how many there are.
        device: what this one computes on.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def share(self, rows: int) -> slice:
        """Return which of a batch's rows this rank encodes: the parts are equal and in the ranks' order."""
        part = rows // self.world
        return slice(self.rank * part, (self.rank + 1) * part)

    def gather(self, rows: Tensor) -> Tensor:
        """Return (B, D) the rows of all ranks of this rank's (B / world, D), without a graph."""
        if self.world == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world)]
        with _together(self):
            dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def sum_gradients(self, parameters: Iterable[Tensor], *, whole: Iterable[Tensor] = ()) -> None:
        """Add up the gradients of all ranks, in place.

        Args:
            parameters: those whose gradient each rank has for its share of the batch.
            whole: those whose gradient each rank has for all of the batch already. They get the mean, so
                that ranks which differ in the last bits stay together.
        """
        if self.world == 1:
            return
        complete = [parameter.grad for parameter in whole if parameter.grad is not None]
        for gradient in complete:
            gradient.div_(self.world)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None] + complete
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            with _together(self):
                dist.all_reduce(flat)
            sizes = [gradient.numel() for gradient in bucket]
            for gradient, summed in zip(bucket, torch.split(flat, sizes), strict=True):
                gradient.copy_(summed.view_as(gradient))

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite each tensor by what rank 0 has."""
        if self.world > 1:
            for tensor in tensors:
                with _together(self):
                    dist.broadcast(tensor, src=0)

    def largest(self, *numbers: float) -> tuple[float, ...]:
        """Return the largest of what the ranks have, number by number, so that all decide alike."""
        if self.world == 1:
            return numbers
        together = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        with _together(self):
            dist.all_reduce(together, op=dist.ReduceOp.MAX)
        return tuple(together.tolist())


ALONE = Ranks()


@contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """Join the processes that torchrun started, or be alone; leave them at the end.

    Args:
        device: auto, cpu or cuda. The ranks of a machine take its GPUs one each.

    Raises:
        OptionError: the device is not there.
        InterruptedWorkError: the others cannot be reached.
    """
    on_gpu = torch.cuda.is_available() and device != "cpu"
    if device == "cuda" and not on_gpu:
        raise OptionError("The device cuda was asked for and no CUDA device is there. Use cpu or auto.")
    if not dist.is_torchelastic_launched() and not dist.is_initialized():
        yield Ranks(device=torch.device("cuda" if on_gpu else "cpu"))
        return
    chosen = torch.device("cuda", dist.get_node_local_rank()) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(chosen)
    if dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), chosen)
        return
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    except RuntimeError as error:
        raise InterruptedWorkError(f"The other ranks cannot be reached: {error}") from error
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()


@contextmanager
def _together(ranks: Ranks) -> Iterator[None]:
    """Say what it means when a message to the others fails."""
    try:
        yield
    except RuntimeError as error:
        raise InterruptedWorkError(
            f"Rank {ranks.rank} of {ranks.world} lost the others: one of them has ended. "
            "What it said before tells why; the checkpoint is where it was last written."
        ) from error


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the gradients in their order, as many at a time as make a bucket; of one dtype each."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        full = sum(g.numel() for g in bucket) + gradient.numel() > _BUCKET
        if bucket and (full or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
