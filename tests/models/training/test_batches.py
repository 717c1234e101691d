"""Batches are functions of the seed and the step, wherever the pictures come from."""

import dataclasses

import numpy as np
import pytest
import torch

from models.datasets import Pictures, read_csv
from models.errors import OptionError, ShapeError
from models.training import TrainConfig, fit
from models.training.batches import Batches, TrainingData, seed_torch
from models.training.ranks import ALONE
from tests.models.training.small import pictures


def test_pictures_that_are_decoded_on_the_way_train_the_same_network(config: TrainConfig) -> None:
    data = pictures(config)
    expected, _ = fit(config, data)
    with Pictures(read_csv(config.data, "train"), config.input(), threads=2) as on_the_way:
        found, _ = fit(config, TrainingData(on_the_way, data.labels))
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def test_a_batch_is_normalised_and_labelled(config: TrainConfig) -> None:
    plain = dataclasses.replace(config, augmentation="none", camera_balanced=True)
    data = pictures(plain)
    cameras = np.arange(len(data.labels)) % 2
    batch = Batches(plain, dataclasses.replace(data, cameras=cameras), ALONE).batch(3)
    assert (batch.x.shape, batch.x.dtype) == ((12, 3, 32, 32), torch.float32)
    expected = {
        tuple(((picture.astype(float) - 127.5) / 64).ravel()[:5]): label
        for picture, label in zip(np.asarray(data.pixels), data.labels, strict=True)
    }
    for x, label in zip(batch.x, batch.labels.tolist(), strict=True):
        first = tuple(x.permute(1, 2, 0).reshape(-1)[:5].double().tolist())
        assert any(label == known and np.allclose(first, start) for start, known in expected.items())


def test_cameras_that_are_unknown_cannot_be_balanced(config: TrainConfig) -> None:
    balanced = dataclasses.replace(config, camera_balanced=True)
    with pytest.raises(OptionError, match="does not say which camera"):
        Batches(balanced, pictures(config), ALONE)


def test_what_dropout_draws_from_differs_by_seed_step_and_rank() -> None:
    drawn = set()
    with torch.random.fork_rng(devices=[]):
        for given in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**63 - 1, 5, 2)]:
            seed_torch(*given)
            drawn.add(torch.rand(1).item())
            seed_torch(*given)
            drawn.add(torch.rand(1).item())
    assert len(drawn) == 5


def test_bunches_of_a_group_are_drawn_together(config: TrainConfig) -> None:
    data = pictures(config)
    groups = data.labels % 3
    batches = Batches(
        dataclasses.replace(config, together=2), dataclasses.replace(data, groups=groups), ALONE
    )
    for step in range(10):
        bunches = (batches.batch(step).labels % 3).reshape(-1, 2 * config.images)
        assert (bunches == bunches[:, :1]).all()


def test_bunches_need_groups(config: TrainConfig) -> None:
    with pytest.raises(OptionError, match="which identities form a group"):
        Batches(dataclasses.replace(config, together=2), pictures(config), ALONE)


def test_each_picture_needs_a_label(config: TrainConfig) -> None:
    data = pictures(config)
    with pytest.raises(ShapeError, match="31 labels for 32 pictures"):
        Batches(config, dataclasses.replace(data, labels=data.labels[1:]), ALONE)
