"""What a training changes: the network, the classifier of the losses, the optimiser, the average."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints import load_checkpoint
from models.errors import OptionError
from models.networks import Necked, build_network
from models.training.averaging import Average
from models.training.config import TrainConfig
from models.training.objective import Objective
from models.training.ranks import Ranks

__all__ = ["Parts", "begin", "learning_rate"]

log = logging.getLogger(__name__)

_OPTIMIZER = "optimizer"


@dataclass
class Parts:
    """Everything that changes from step to step.

    Attributes:
        network: what is trained, on the device, in training mode.
        objective: the losses, with the classifier that is trained along.
        optimizer: of the weights of both.
        scaler: of the loss, where the network computes in float16.
        average: of the network's weights, or None.
        autocast: makes the context in which the network runs.
    """

    network: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average | None
    autocast: Callable[[], AbstractContextManager[Any]]

    def embed(self, x: Tensor) -> Tensor:
        """Return (B, D) what the triplet loss compares, in float32 at least, of pictures (B, C, H, W)."""
        with self.autocast():
            network = self.network
            embeddings: Tensor = network.features(x) if isinstance(network, Necked) else network(x)
        return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))

    def parameters(self) -> list[nn.Parameter]:
        """Return all that is trained, each once."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def own_parameters(self) -> Iterator[nn.Parameter]:
        """Yield those whose gradient comes from the pictures that this rank encodes."""
        whole = {id(parameter) for parameter in self.objective.parameters()}
        return (parameter for parameter in self.network.parameters() if id(parameter) not in whole)

    def final_weights(self) -> dict[str, Tensor]:
        """Return what is evaluated and bundled: the average where there is one."""
        return self.network.state_dict() if self.average is None else self.average.weights

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that training goes on from, by name."""
        tensors = _under("network", self.network.state_dict())
        if self.objective.classifier is not None:
            tensors |= _under("classifier", self.objective.classifier.state_dict())
        if self.average is not None:
            tensors |= _under("average", self.average.weights)
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= _under(f"{_OPTIMIZER}.{number}", state)
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave.

        Raises:
            KeyError, RuntimeError: they are another network's.
        """
        self.network.load_state_dict(_of("network", tensors))
        if self.objective.classifier is not None:
            self.objective.classifier.load_state_dict(_of("classifier", tensors))
        if self.average is not None:
            for name, tensor in _of("average", tensors).items():
                self.average.weights[name].copy_(tensor)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _of(_OPTIMIZER, tensors).items():
            number, key = name.split(".")
            state.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


def begin(config: TrainConfig, classes: int, ranks: Ranks) -> Parts:
    """Return the parts of a training that begins, the same ones on every rank.

    Weights are drawn from torch's global generator, which is seeded.

    Raises:
        OptionError: an option that does not fit another, or the device; a size that the network cannot take.
        BundleError: weights to begin with that cannot be read, or do not fit.
    """
    if config.precision == "float16" and ranks.device.type != "cuda":
        raise OptionError("precision float16 needs a GPU; take bfloat16 or float32.", argument="precision")
    torch.manual_seed(config.seed)
    params = {name: value for name, value in config.architecture().items() if name != "neck"}
    network = build_network(config.network, neck=config.neck, **params)
    if config.pretrained is not None:
        loaded = load_checkpoint(network, config.pretrained)
        if ranks.rank == 0:
            log.info("%s", loaded)
    _check_size(network, config)
    if ranks.world > 1 and ranks.device.type == "cuda":
        network = _synchronised(network)
    objective = Objective(config, network.neck if isinstance(network, Necked) else nn.Identity(), classes)
    # As the pictures come: kernels of the other order are turned at every step, a sixth of a CPU's time.
    network.to(ranks.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    network.train()
    objective.to(ranks.device).train()
    ranks.same([*network.state_dict().values(), *objective.state_dict().values()])
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[config.precision]
    return Parts(
        network=network,
        objective=objective,
        optimizer=_optimizer(network, objective, config),
        scaler=torch.amp.GradScaler(ranks.device.type, enabled=dtype == torch.float16),
        average=None if config.ema_decay is None else Average(network, config.ema_decay),
        autocast=lambda: torch.autocast(ranks.device.type, dtype, enabled=dtype != torch.float32),
    )


@torch.no_grad()
def _check_size(network: nn.Module, config: TrainConfig) -> None:
    """Raise OptionError where pictures are too small for the network, or of a size that it does not take."""
    spec = config.input()
    try:
        network.eval()(torch.zeros(1, spec.depth, spec.height, spec.width))  # draws nothing, changes nothing
    except (RuntimeError, ValueError) as error:
        raise OptionError(
            f"The network {config.network} cannot take pictures of {spec.height} x {spec.width} ({error}). "
            "Ask for another size.",
            argument="height",
        ) from error


def _synchronised(network: nn.Module) -> nn.Module:
    """Let batch normalisation see the pictures of all ranks; a neck does so already."""
    if isinstance(network, Necked):
        network.backbone = _synchronised(network.backbone)
        return network
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return converted


def learning_rate(config: TrainConfig, done: float) -> float:
    """Return the learning rate at a share of the training: up in a line, then down to 0 along a cosine."""
    warm_up = config.warm_up
    if done < warm_up:
        return config.learning_rate * (done + 0.1 * warm_up) / (1.1 * warm_up)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def _optimizer(network: nn.Module, objective: Objective, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW that lets biases and the scales of normalisation alone."""
    parameters = list(nn.ModuleList([network, objective]).parameters())  # the neck, in both, once
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _of(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
