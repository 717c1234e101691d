"""Two gloo processes come to the loss and the gradient of one, and begin and end together."""

import dataclasses
import itertools
import re
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.batch_losses import MININGS
from models.errors import OptionError
from models.training import TrainConfig
from models.training.batches import Batches
from models.training.gradients import backpropagate
from models.training.ranks import ALONE, Ranks, joined
from tests.models.training.processes import start
from tests.models.training.rank_work import find_gradients, lose_the_other, train_and_stop, train_together
from tests.models.training.small import (
    EXACT,
    LOSSES,
    assert_same_gradients,
    batch,
    exact_parts,
    gradients,
    options,
    pictures,
)

CASES = {
    f"{mining}-{margin}-{losses}-{chunk or 'whole'}": options(
        mining=mining, margin=margin, chunk=chunk, **weights
    )
    for (mining, margin), (losses, weights), chunk in itertools.product(
        itertools.product(MININGS, [0.2, "soft"]), LOSSES.items(), [None, 4]
    )
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    assert start(find_gradients, (0, folder, CASES), (1, folder, CASES)) == [0, 0]
    return folder


@pytest.fixture(scope="module")
def alone() -> Callable[[TrainConfig], dict[str, torch.Tensor]]:
    """Return a function that gives what one process comes to, encoding the batch at once."""

    @cache
    def find(config: TrainConfig) -> dict[str, torch.Tensor]:
        parts = exact_parts(config)
        losses, _ = backpropagate(parts, batch(config), None, ALONE)
        return gradients(parts) | {"loss": losses.total.detach()}

    return find


@pytest.mark.parametrize("name", CASES)
def test_both_ranks_have_the_loss_and_gradient_of_one_process(
    name: str, found: Path, alone: Callable[[TrainConfig], dict[str, torch.Tensor]]
) -> None:
    expected = alone(dataclasses.replace(CASES[name], chunk=None))
    for rank in (0, 1):
        got = load_file(found / f"{name}.{rank}.safetensors")
        torch.testing.assert_close(got["loss"], expected["loss"], rtol=EXACT, atol=0)
        assert_same_gradients(got, expected)


def test_ranks_that_train_together_stay_equal(config: TrainConfig, tmp_path: Path) -> None:
    together = dataclasses.replace(config, steps=4, id_weight=0.5, neck=True, chunk=2, ema_decay=0.9)
    assert start(train_together, (0, tmp_path, together), (1, tmp_path, together)) == [0, 0]
    one, other = (load_file(tmp_path / f"weights.{rank}.safetensors") for rank in (0, 1))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_rank_that_is_told_to_end_ends_all_after_the_same_step(config: TrainConfig, tmp_path: Path) -> None:
    endless = dataclasses.replace(config, steps=1_000_000)
    assert start(train_and_stop, (0, tmp_path, endless), (1, tmp_path, endless)) == [0, 0]
    said = [(tmp_path / f"said.{rank}").read_text() for rank in (0, 1)]
    assert said == ["Training was stopped after step 1. Nothing was kept."] * 2


def test_a_rank_that_is_killed_is_not_waited_for(config: TrainConfig, tmp_path: Path) -> None:
    endless = dataclasses.replace(config, steps=1_000_000)
    codes = start(lose_the_other, (0, tmp_path, endless), (1, tmp_path, endless))
    assert codes[1] == -signal.SIGKILL
    assert re.match("Rank 0 of 2 lost the others", (tmp_path / "said.0").read_text())


def test_the_ranks_shares_are_the_batch_of_one_process(config: TrainConfig) -> None:
    plain = dataclasses.replace(config, augmentation="none")
    data = pictures(plain)
    alone = Batches(plain, data, ALONE)
    shared = [Batches(plain, data, Ranks(rank, 3)) for rank in range(3)]
    for step in (0, 1, 7):
        whole = alone.batch(step)
        parts = [batches.batch(step) for batches in shared]
        assert torch.equal(torch.cat([part.x for part in parts]), whole.x)
        assert all(torch.equal(part.labels, whole.labels) for part in parts)


def test_identities_that_ranks_cannot_share_are_refused(config: TrainConfig) -> None:
    with pytest.raises(OptionError, match="4 ranks cannot share them equally"):
        Batches(config, pictures(config), Ranks(0, 4))


def test_a_process_alone_is_rank_0_of_1() -> None:
    with joined("cpu") as ranks:
        assert (ranks.rank, ranks.world, ranks.device) == (0, 1, torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="no CUDA device is there"), joined("cuda"):
        sys.exit("it was not")
