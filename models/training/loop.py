"""The training of a network: one loop, read from top to bottom."""

from typing import Any

import torch
from torch import nn

from models.errors import InterruptedWorkError, NonFiniteError
from models.progress import Report, ReportOptions
from models.training.batches import Batches, TrainingData, seed_torch
from models.training.checkpoint import Checkpoint
from models.training.config import TrainConfig
from models.training.gradients import backpropagate, clip
from models.training.parts import begin, learning_rate
from models.training.ranks import ALONE, Ranks
from models.training.stopping import Stop

__all__ = ["fit"]


def fit(
    config: TrainConfig,
    data: TrainingData,
    *,
    ranks: Ranks = ALONE,
    checkpoint: Checkpoint | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network trained on labelled pictures, in evaluation mode, and how that went.

    Args:
        config: its dataset and splits, device and threads are not looked at.
        data: the labelled pictures.
        ranks: the processes that train together, and the device: alone and on the CPU unless it is given, see
            `models.training.ranks.joined`.
        checkpoint: where to go on from, and to write to; None keeps nothing.

    Raises:
        DatasetError: fewer identities than a batch needs, or a picture that can no longer be read.
        OptionError: options that do not go together, or a checkpoint of another configuration.
        ShapeError: another number of labels than of pictures.
        BundleError: weights to begin with, or a checkpoint, that cannot be read.
        NonFiniteError: training diverged.
        InterruptedWorkError: Ctrl-C or SIGTERM, or another rank has ended; it says how far training came.
        OSError: the checkpoint or the log cannot be written.
    """
    cuda = [ranks.device] if ranks.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), Stop() as stop:
        batches = Batches(config, data, ranks)
        parts = begin(config, int(data.labels.max()) + 1, ranks)
        step, state = checkpoint.restore(parts) if checkpoint else (0, None)
        report = Report(
            config.steps,
            config.minutes,
            folder=checkpoint.folder if checkpoint else None,
            state=state,
            options=ReportOptions(normalize=config.normalize, margin=config.margin, quiet=ranks.rank > 0),
        )
        with report:
            while True:
                done, stopped = ranks.largest(report.share_done(step), float(stop.asked))
                if done >= 1 or stopped:
                    break
                rate = learning_rate(config, done)
                for group in parts.optimizer.param_groups:
                    group["lr"] = rate
                with report.waiting():
                    batch = batches.batch(step)
                seed_torch(config.seed, step, ranks.rank)

                try:
                    losses, embeddings = backpropagate(parts, batch, config.chunk, ranks)
                except NonFiniteError as error:
                    raise NonFiniteError(
                        f"Training diverged at step {step + 1}: {error} Take a lower learning rate or a "
                        "longer warm-up."
                    ) from error
                norm = clip(parts, config.clip_norm)
                parts.scaler.step(parts.optimizer)
                parts.scaler.update()
                step += 1
                if parts.average is not None:
                    parts.average.update(parts.network, step)
                report.step(
                    step,
                    losses.triplet,
                    embeddings,
                    batch.labels,
                    learning_rate=rate,
                    losses=losses.parts,
                    gradient_norm=norm,
                )
                if checkpoint:
                    checkpoint.write_if_due(parts, step, report)
        if checkpoint:
            checkpoint.write(parts, step, report, finished=done >= 1)
    if stopped and done < 1:
        kept = checkpoint.how_to_go_on() if checkpoint else "Nothing was kept."
        raise InterruptedWorkError(f"Training was stopped after step {step}. {kept}", signal=int(stopped))
    parts.network.load_state_dict(parts.final_weights())
    return parts.network.eval(), report.outcome(step)
