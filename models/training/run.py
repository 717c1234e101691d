"""From a dataset to a bundle: read, train, measure, write."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch

from models.bundle import Architecture, EncoderSpec, add_measurements, check_destination
from models.datasets import ImageSet, Pictures, check_pictures, hold_out, load_pixels, read_dataset
from models.drawing import draw_vehicle
from models.errors import BundleError, DatasetError, InputError, OptionError
from models.evaluation import (
    EvaluationOptions,
    check_findable,
    choose_protocol,
    evaluate,
    measured_by,
    warnings_of,
)
from models.images import Pixels, decode
from models.manifest import make_record
from models.reports import evaluation_files
from models.runtime import Encoder, save_encoder
from models.training.batches import TrainingData
from models.training.checkpoint import Checkpoint, claimed, listing_sha256
from models.training.config import TrainConfig
from models.training.loop import fit
from models.training.ranks import joined
from models.virtual_classes import expand, expand_labels

__all__ = ["train"]

log = logging.getLogger(__name__)

_IN_MEMORY = 4 * 2**30  # bytes of decoded pictures, a process
_IDLE_NECK = (
    "neck was asked for, to part the embeddings of two losses, and there is one: it only standardises what "
    "is bundled, and no loss has seen that. Give id_weight too, such as 1, or leave neck."
)
_OTHERWISE = "Instead, --hold-out 0.2 measures on a fifth of the identities, and --val-split '' on none."


def train(config: TrainConfig, *, resume: bool = False, fresh: bool = False) -> Path:
    """Train an encoder, measure it, and write its bundle.

    The same configuration, on the same machine with the same versions and threads, gives the same weights,
    whether or not it was interrupted and resumed. What could keep the bundle from being written is refused
    before the training, not after it. Under torchrun, all its processes train together and rank 0 writes.

    Args:
        config: what to train on, how, and where the bundle goes.
        resume: go on from the checkpoint beside the bundle's folder; without one, begin.
        fresh: begin anew, whatever checkpoint or bundle is there.

    Returns:
        The bundle's folder.

    Raises:
        DatasetError: the dataset is not what it should be, or what is to be measured on is learned from.
        InputError: nothing can be measured on what is to be measured on.
        BundleError: the folder for the bundle holds something, lies in the dataset, or cannot be written; a
            file of weights to begin with, or a checkpoint, is damaged.
        OptionError: an option that does not fit; a checkpoint that is unfinished, or of other options.
        NonFiniteError: training diverged.
        InterruptedWorkError: Ctrl-C or SIGTERM in training, and the checkpoint is written; or another rank
            has ended.
        KeyboardInterrupt: Ctrl-C before or after that, or twice.
        OSError: the checkpoint or the log cannot be written.
    """
    _check_out(config)
    train_set, val_set = _sets(config)
    spec = _spec(config, train_set)
    with joined(config.device) as ranks, claimed(config.out, ranks), _torch_apart(config.threads):
        checkpoint = Checkpoint(config, listing_sha256(train_set, config.data), ranks, resume=resume)
        if not fresh:
            checkpoint.refuse_to_overwrite()
        if ranks.rank == 0:
            for images in filter(None, (train_set, val_set)):
                log.info("%s", images)
            if config.neck and not config.id_weight:
                log.warning("%s", _IDLE_NECK)
            if val_set is not None:
                _check_pictures(config, train_set, val_set)
        with _training_data(config, train_set) as data:
            network, outcome = fit(config, data, ranks=ranks, checkpoint=checkpoint)
        if ranks.rank == 0:
            spec = spec.model_copy(update={"training": {**(spec.training or {}), "outcome": outcome}})
            _write(config, spec, network.state_dict(), val_set)
    return config.out


def _sets(config: TrainConfig) -> tuple[ImageSet, ImageSet | None]:
    """Return what is learned from, without pictures of nobody, and what is measured on."""
    train_set = read_dataset(config.data, config.train_split)
    val_set = None
    if config.hold_out is not None:
        train_set, val_set = hold_out(train_set, config.hold_out, seed=config.seed)
    elif config.val_split == config.train_split:
        raise DatasetError(
            f"{config.train_split!r} is to be learned from and measured on: figures would mean nothing. "
            f"{_OTHERWISE}"
        )
    elif config.val_split:
        val_set = read_dataset(config.data, config.val_split)
        both = sorted(set(train_set.identities) & set(val_set.identities))
        if both:
            raise DatasetError(
                f"{len(both):,} identities of {val_set.split!r} are in {train_set.split!r} too, first "
                f"{both[0]}: figures of what was learned from mean nothing. {_OTHERWISE}"
            )
    if val_set is not None:
        _check_measurable(val_set, held_out=config.hold_out is not None)
    train_set = train_set.subset(np.flatnonzero(train_set.labels() >= 0), split=train_set.split)
    if config.camera_balanced and train_set.without_camera:
        raise OptionError(
            f"camera_balanced was asked for, and {train_set.without_camera:,} of {len(train_set):,} pictures "
            f"of {train_set.name}/{train_set.split} have no camera. Fill them all in.",
            argument="camera_balanced",
        )
    return train_set, val_set


def _check_measurable(val_set: ImageSet, *, held_out: bool) -> None:
    """Refuse a set on which nothing could be measured, before the training rather than after it."""
    try:
        check_findable(measured_by(val_set, choose_protocol(val_set, "auto"))[0], protocols=False)
    except InputError as error:
        otherwise = "Instead of --hold-out, --val-split '' measures nothing." if held_out else _OTHERWISE
        raise InputError(f"{error} {otherwise}", argument="hold_out" if held_out else "val_split") from error


def _check_pictures(config: TrainConfig, train_set: ImageSet, val_set: ImageSet) -> None:
    """Refuse pictures to measure on that cannot be used, and name those to learn from in the same breath."""
    try:
        check_pictures(val_set, config.input(), threads=config.threads)
    except DatasetError as error:
        try:
            check_pictures(train_set, config.input(), threads=config.threads)
        except DatasetError as further:
            raise DatasetError(f"{error}\n{further}") from error
        raise


@contextmanager
def _training_data(config: TrainConfig, images: ImageSet) -> Iterator[TrainingData]:
    """Decode what fits into memory; of more, see that it can be decoded, and decode what each batch needs."""
    spec, labels = config.input(), images.labels()
    cameras, groups = images.camera_labels(), images.group_labels()
    further = config.further_classes
    pictures_in_all = len(expand_labels(labels, further))
    in_memory = pictures_in_all * spec.height * spec.width * spec.depth <= _IN_MEMORY
    if not in_memory and further != "none":
        raise DatasetError(
            f"With further classes, {images.name}/{images.split} is {pictures_in_all:,} pictures: more than "
            f"{_IN_MEMORY // 2**30} GiB of memory. Ask for a smaller --size, or leave --further-classes."
        )
    if in_memory:
        pixels, classes = expand(load_pixels(images, spec, threads=config.threads), labels, further)
        if cameras is not None:
            cameras = np.tile(cameras, len(classes) // len(labels))
        yield TrainingData(
            pixels, classes, cameras, None if groups is None else expand_labels(groups, further)
        )
        return
    check_pictures(images, spec, threads=config.threads)
    with Pictures(images, spec, threads=config.threads) as pictures:
        yield TrainingData(pictures, labels, cameras, groups)


def _write(
    config: TrainConfig, spec: EncoderSpec, weights: dict[str, torch.Tensor], val_set: ImageSet | None
) -> None:
    """Write the bundle, then measure it as it is served and add what was found."""
    encoder = save_encoder(
        config.out,
        spec,
        {name: tensor.detach().cpu() for name, tensor in weights.items()},
        _reference_inputs(config),
    )
    if val_set is not None:
        try:
            _measure(config, encoder, val_set)
        except (InputError, DatasetError) as error:
            log.warning("The bundle was written but not measured on %s: %s", val_set, error)
    log.info(
        "The bundle is in %s. Host it with: lookalike serve --encoder %s", config.out, quote(str(config.out))
    )


def _measure(config: TrainConfig, encoder: Encoder, val_set: ImageSet) -> None:
    """Add to a bundle how good it is: figures, thresholds, and a report to look at."""
    evaluation = evaluate(encoder, val_set, EvaluationOptions(threads=config.threads))
    warnings = warnings_of(evaluation)
    calibration = evaluation.calibration
    add_measurements(
        config.out,
        evaluation={**evaluation.record(), "warnings": warnings},
        calibration=None if calibration is None else calibration.record(),
        reports=evaluation_files(encoder, evaluation, pictures=config.report_pictures),
    )
    for direction, result in evaluation.directions.items():
        log.info(
            "%s, %s: rank-1 %.3f, mAP %.3f (%d queries, %d without a positive)",
            val_set.split,
            direction,
            result.rank[1],
            result.mean_average_precision,
            result.queries,
            result.skipped,
        )
    for sentence in warnings:
        log.warning("%s", sentence)


def _check_out(config: TrainConfig) -> None:
    """Raise BundleError where the bundle's folder lies in the dataset, or could not be made or replaced."""
    out = config.out
    if out.resolve().is_relative_to(config.data.resolve()):
        raise BundleError(
            f"{out} lies in the dataset's own folder, where it would be taken for pictures. Choose another "
            "place with --out."
        )
    try:
        check_destination(out)
        parent = next(path for path in out.resolve().parents if path.exists())
    except OSError as error:
        raise BundleError(f"{out} cannot be looked at: {error.strerror}.") from error
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise BundleError(f"{out} cannot be made: {parent} is no folder that may be written to.")


def _spec(config: TrainConfig, train_set: ImageSet) -> EncoderSpec:
    """Return what the bundle will say, all but the outcome and the evaluation.

    Raises:
        OptionError: an option that no bundle can have.
    """
    training: dict[str, Any] = {
        "dataset": train_set.name,
        "images": len(train_set),
        "identities": len(train_set.identities),
        "config": config.record(),
        "outcome": None,
        "torch": str(torch.__version__),
    }
    return make_record(
        EncoderSpec,
        name=config.name,
        description=config.description,
        intended_use=config.intended_use,
        licence=config.licence,
        architecture=Architecture(name=config.network, params=config.architecture()),
        input=config.input(),
        dimension=config.dimension,
        normalize=config.normalize,
        metric="euclidean",
        training=training,
    )


@contextmanager
def _torch_apart(threads: int) -> Iterator[None]:
    """Give torch a number of threads and kernels that repeat; put them and its generator back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
            torch.random.fork_rng(devices=[]),
        ):
            yield
    finally:
        torch.set_num_threads(before)


def _reference_inputs(config: TrainConfig) -> Pixels:
    """Draw the pictures whose embeddings a bundle is checked with; nobody's data is among them."""
    pictures = []
    for identity in range(1, 5):
        file = BytesIO()
        draw_vehicle(identity, 0).save(file, "PNG")
        pictures.append(
            decode(file.getvalue(), (config.height, config.width), grey=config.channels == "grey")
        )
    return np.stack(pictures)
