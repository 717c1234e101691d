"""Training an encoder: `config` says how, `loop` does it, `run` makes a bundle of what comes out."""

from models.training.config import TrainConfig
from models.training.loop import fit
from models.training.run import train

__all__ = ["TrainConfig", "fit", "train"]
