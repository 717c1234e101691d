"""The trainings of the learning benchmark: only who forms the loss differs between ours and the peers'."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.learning.arms import ARMS, OURS, PML, TORCH, UNTRAINED, Arm, Mining, config_of
from benchmarks.learning.losses import peer_step
from benchmarks.learning.running import Job, Sets, begin_arm, first_identities, measure, train_arm
from models.losses import batch_triplet_loss
from tests.benchmarks.learning_sets import PLAN, drawn_sets

MININGS: tuple[Mining, ...] = ("hard", "all")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def sets(folder: Path) -> Sets:
    return drawn_sets(folder)


def job(arm: Arm, folder: Path, *, begin: bool = False, seed: int = 0) -> Job:
    return Job(PLAN, arm, seed, folder, folder / "results", 1, begin)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("peer", [PML, TORCH])
def test_a_peers_loss_and_gradient_are_ours(peer: str, mining: Mining) -> None:
    generator = torch.Generator().manual_seed(1)
    rows, labels = torch.randn(12, 8, generator=generator, dtype=torch.float64), torch.arange(12) // 3
    mine, theirs = (rows.clone().requires_grad_() for _ in range(2))
    loss = batch_triplet_loss(mine, labels, mining=mining, margin=0.3, normalize=True).loss
    loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
    found = peer_step(Arm(peer, mining), 0.3)(theirs, labels)
    assert float(found) == pytest.approx(loss.item(), rel=1e-12)
    assert mine.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(theirs.grad, mine.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mining", MININGS)
def test_in_float64_the_losses_of_all_go_the_same_way(mining: Mining, folder: Path, sets: Sets) -> None:
    curves = [
        begin_arm(job(Arm(by, mining), folder, begin=True), sets)["losses"] for by in (OURS, PML, TORCH)
    ]
    assert [len(curve) for curve in curves] == [PLAN.steps] * 3
    assert len(set(curves[0])) == PLAN.steps
    np.testing.assert_allclose(curves[1:], [curves[0]] * 2, rtol=0, atol=1e-9)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.key)
def test_every_arm_is_trained_timed_and_scored(arm: Arm, folder: Path, sets: Sets) -> None:
    found = train_arm(job(arm, folder), sets)
    steps = 0 if arm.by == UNTRAINED else PLAN.steps
    assert len(found["losses"]) == len(found["seconds"]) == steps
    assert all(seconds > 0 for seconds in found["seconds"])
    assert 0 < found["map"] <= 1
    assert 0 <= found["rank_1"] <= 1
    assert -1 <= found["cosine_different"] <= found["cosine_same"] <= 1 + 1e-6
    assert "16 images of 4 identities" in found["train"]


def test_trainings_of_a_seed_begin_alike_and_of_another_do_not(folder: Path, sets: Sets) -> None:
    first = {
        (by, seed): train_arm(job(Arm(by, "all"), folder, seed=seed), sets)["losses"][0]
        for by in (OURS, TORCH)
        for seed in (0, 1)
    }
    assert first[OURS, 0] == pytest.approx(first[TORCH, 0], abs=1e-6)
    assert first[OURS, 1] == pytest.approx(first[TORCH, 1], abs=1e-6)
    assert abs(first[OURS, 0] - first[OURS, 1]) > 1e-4


def test_a_training_leaves_torch_as_it_was(folder: Path, sets: Sets) -> None:
    before = torch.get_rng_state()
    begin_arm(job(Arm(OURS, "hard"), folder, begin=True), sets)
    train_arm(job(Arm(PML, "hard"), folder), sets)
    assert torch.get_rng_state().equal(before)


def test_a_job_reads_its_data_and_does_what_it_is_for(folder: Path, sets: Sets) -> None:
    some = replace(PLAN, train_identities=3, val_identities=2)
    arm = Arm(UNTRAINED)
    found = measure(Job(some, arm, 0, folder, folder / "results", 1))
    assert "12 images of 3 identities" in found["train"]
    assert "8 images of 2 identities" in found["val"]
    begun = measure(job(Arm(TORCH, "hard"), folder, begin=True))
    assert begun == begin_arm(job(Arm(TORCH, "hard"), folder, begin=True), sets)


def test_first_identities_are_whole(sets: Sets) -> None:
    some = first_identities(sets.train, 2)
    assert (len(some), len(some.identities)) == (8, 2)
    assert first_identities(sets.train, None).samples == sets.train.samples


def test_arms_share_all_but_the_loss() -> None:
    configs = [
        config_of(PLAN, arm, 0, out=Path("out"), threads=1).record() for arm in ARMS if arm.by != UNTRAINED
    ]
    differing = {name for name in configs[0] if len({repr(config[name]) for config in configs}) > 1}
    assert differing == {"mining", "neck", "id_weight"}
    assert len({arm.key for arm in ARMS}) == len(ARMS)
