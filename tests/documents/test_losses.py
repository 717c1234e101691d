"""The examples of docs/losses.md, run as they are written, on small tensors in place of the reader's."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/losses.md").read_text()
BLOCKS: list[str] = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.S | re.M)


def names() -> dict[str, Any]:
    """Return what the examples take as given."""
    torch.manual_seed(0)
    network = nn.Linear(3, 4)
    labels = torch.arange(8) // 2
    return {
        "anchor": torch.randn(8, 4),
        "positive": torch.randn(8, 4),
        "negative": torch.randn(8, 4),
        "embeddings": torch.randn(8, 4, requires_grad=True),
        "labels": labels,
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.1),
        "batches": [(torch.randn(8, 3), labels), (torch.randn(8, 3), labels)],
    }


def having(word: str) -> str:
    """Return the one example with this word."""
    (block,) = (block for block in BLOCKS if word in block)
    return block


def test_every_example_is_run_here() -> None:
    words = ("triplet_margin_loss", "batch_triplet_loss", "loss_function")
    assert sorted(map(having, words)) == sorted(BLOCKS)


def test_given_triplets_cost_the_same_by_function_and_by_module() -> None:
    lines, space = having("triplet_margin_loss"), names()
    exec(lines.rpartition("loss = ")[0], space)
    by_function = space["loss"]
    exec(lines, space)
    assert torch.equal(space["loss"], by_function)


def test_a_labelled_batch_has_gradients_and_listed_triplets() -> None:
    space = names()
    exec(having("batch_triplet_loss"), space)
    assert len(space["result"].triplets) == 5
    assert space["embeddings"].grad.abs().sum() > 0


def test_the_training_loop_trains_and_prints_its_counts(capsys: pytest.CaptureFixture[str]) -> None:
    space = names()
    before = space["network"].weight.clone()
    exec(having("loss_function"), space)
    assert not torch.equal(space["network"].weight, before)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == 2
    assert all(0 <= float(share) <= 1 and collapsed == "False" for _, share, collapsed in printed)
