"""The answers of `lookalike losses` in words."""

import math
from collections.abc import Sequence
from typing import Literal

import click
from torch import Tensor

from models.losses import BatchLoss, ExplicitLoss, MinedTriplet
from service.cli.arrays import Label
from service.cli.reports import Facts, show_table

__all__ = ["batch_facts", "show_triplets", "triplet_facts"]


def batch_facts(result: BatchLoss, margin: float | Literal["soft"]) -> Facts:
    """Return the loss of a batch in words."""
    classes = f"{result.easy:,} easy, {result.semi_hard:,} semi-hard, {result.hard:,} hard"
    skipped = f"{result.skipped_anchors:,}"
    if result.skipped_anchors:
        skipped += " (without a positive, or without a negative)"
    return [
        ("loss", _loss_text(result.loss, result.reduction)),
        ("mining", result.mining),
        ("margin", _margin_text(margin)),
        ("triplets", f"{result.valid_triplets:,} valid: {classes}"),
        ("active", _active_text(result)),
        ("skipped anchors", skipped),
        ("collapsed", _collapse_text(margin) if result.collapsed else "no"),
    ]


def triplet_facts(result: ExplicitLoss, reduction: str, margin: float) -> Facts:
    """Return the loss of explicit triplets in words."""
    return [
        ("loss", _loss_text(result.loss, reduction)),
        ("margin", _margin_text(margin)),
        ("triplets", f"{result.valid_triplets:,}"),
        ("active", _active_text(result)),
    ]


def show_triplets(triplets: Sequence[MinedTriplet], labels: Sequence[Label]) -> None:
    """Print triplets by their rows, counted from 0, and their labels."""
    if not triplets:
        return
    columns = ("anchor", "positive", "negative", "label", "negative's", "d_ap", "d_an", "loss")
    click.echo()
    rows = [
        (
            *map(str, (triplet.anchor, triplet.positive, triplet.negative)),
            *(str(labels[row]) for row in (triplet.anchor, triplet.negative)),
            *(f"{value:.6g}" for value in (triplet.d_ap, triplet.d_an, triplet.loss)),
        )
        for triplet in triplets
    ]
    show_table([columns, *rows])


def _loss_text(loss: Tensor, reduction: str) -> str:
    if loss.ndim == 0:
        return f"{loss.item():.6g} ({reduction})"
    low, high = (value.item() for value in loss.detach().aminmax())
    return f"{len(loss):,} losses from {low:.6g} to {high:.6g}; --json or --out FILE.json gives them"


def _margin_text(margin: float | Literal["soft"]) -> str:
    return "soft" if margin == "soft" else f"{margin:g}"


def _active_text(result: BatchLoss | ExplicitLoss) -> str:
    return f"{result.active_triplets:,} ({result.fraction_active:.1%})"


def _collapse_text(margin: float | Literal["soft"]) -> str:
    loss = f"ln 2 = {math.log(2):.4f}" if margin == "soft" else f"the margin, {margin:g}"
    return (
        f"yes: all embeddings lie at one point, so every triplet costs {loss}, and the gradient is 0. "
        "Training does not leave this state: start again with batch-all mining or a lower learning rate."
    )
