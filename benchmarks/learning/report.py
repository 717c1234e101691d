"""The section of the document that a run writes, from whatever has been measured."""

from collections.abc import Mapping
from typing import Any, get_args

from benchmarks.core.figures import table
from benchmarks.learning.arms import ARMS, OURS, UNTRAINED, Arm, Mining, Plan
from benchmarks.learning.records import Record
from benchmarks.learning.running import FIRST_STEPS
from benchmarks.learning.summary import LOSSES_AGREE, Mean, Summary, peers_of

__all__ = ["render"]

_TITLES = {"hard": "Batch-hard", "all": "Batch-all"}
_DISTANCES_AGREE = 1e-4
_FIGURES_AGREE = 1e-6

_HOW = """\
Trained on {train}; measured on {val}, other people. {network} from random weights, {height} x {width}, flip,
pad-crop, colour and erasing; batches of {identities} people x {images} pictures, margin {margin:g} on
embeddings of length 1; AdamW, learning rate {learning_rate:g} after a warm-up over {warm_up:.0%} of {steps}
steps, then along a cosine. Every training of a seed begins with the same weights and sees the same batches;
only who forms the loss differs. Ours is `models.training.fit`. PML (pytorch-metric-learning) and plain torch
are a plain loop: PML with `BatchHardMiner` and a mean over anchors, or with `TripletMarginLoss` over all
triplets and `AvgNonZeroReducer`; plain torch with dense N x N distances, their largest and smallest for
batch-hard, and an N x N x N mask for batch-all.

mAP (hits) and rank-1: every picture against all others but those of its person by its camera. Means over
the seeds {seeds} with standard errors. Loss + mining: from the embeddings to the loss and the gradient back
at them, the median of all steps. Cosines: the means over two pictures of one person, and of two; both near 1
would be a collapse."""

_EXACT = """\
First losses: the largest difference from ours in the first {first} steps. A network in training magnifies any
difference, the rounding of float32 too, so the sequence of losses is compared in float64, network and all
(seed {seed}); what it is in the trainings themselves, in float32, stands beside it."""

_AGREEMENT = """\
`models.evaluation.evaluate` on public encoders, imported as a user would, beside a computation that shares
nothing with it: pictures decoded by Pillow, the original graph in ONNX Runtime picture by picture, distances
in float64, loops and scikit-learn. LFW's one block of view 1 is also put into ten folds in the form of
`pairs.txt`: the accuracy is that of its ten-fold protocol."""


def render(summary: Summary, agreements: Mapping[str, Record | None], about: Mapping[str, Any]) -> str:
    """Return the section as Markdown.

    Args:
        summary: of the trainings.
        agreements: by title, what comparing an encoder's evaluation found; None has not been measured.
        about: title, command, machine, versions and image.
    """
    plan = summary.plan
    missing = summary.missing()
    parts = [
        f"## {about['title']}",
        f"{_dates(summary)}, `{about['command']}`. {about['machine']}. {about['versions']}.",
        _how(summary),
        *([f"**Not measured yet: {'; '.join(missing)}.**"] if missing else []),
        f"![Losses by step, and mAP]({about['image']})",
        _training_table(summary),
        _EXACT.format(first=FIRST_STEPS, seed=plan.seeds[0]),
        "### What was aimed at",
        "\n".join(line for mining in get_args(Mining) for line in _verdicts(summary, mining)),
        "### Cross-entropy beside the triplet loss",
        _identity(summary),
        "### Evaluation beside an independent one",
        _AGREEMENT,
        *(part for title, found in agreements.items() for part in _agreement(title, found)),
    ]
    return "\n\n".join(parts)


def _how(summary: Summary) -> str:
    plan = summary.plan
    facts = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    seeds = ", ".join(map(str, plan.seeds))
    sets = next(iter(summary.trained.values()), {"train": "nothing yet", "val": "nothing yet"})
    return _HOW.format(**facts | {"seeds": seeds, "train": sets["train"], "val": sets["val"]})


def _dates(summary: Summary) -> str:
    dates = sorted({record["date"] for record in summary.trained.values()})
    return " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "Nothing trained yet"


def _training_table(summary: Summary) -> str:
    columns = ["", "seeds", "rank-1", "mAP", "cosines", "first losses", "in float32", "loss + mining"]
    return table(columns, [_row(summary, arm) for arm in ARMS])


def _row(summary: Summary, arm: Arm) -> list[str]:
    name = "Random weights" if arm.by == UNTRAINED else f"{_TITLES[arm.mining]}, {arm.title}"
    exact, single = (
        summary.loss_difference(arm, float64=wide) if arm in peers_of(arm.mining) else None
        for wide in (True, False)
    )
    took = summary.milliseconds(arm)
    cosines = [summary.mean(arm, f"cosine_{kind}") for kind in ("same", "different")]
    return [
        name,
        str(len(summary.seeds(arm))),
        _mean(summary.mean(arm, "rank_1")),
        _mean(summary.mean(arm, "map")),
        " / ".join("" if one is None else f"{one.value:.2f}" for one in cosines),
        "" if exact is None else f"{exact:.0e}",
        "" if single is None else f"{single:.0e}",
        "" if took is None else f"{took:.2f} ms",
    ]


def _verdicts(summary: Summary, mining: Mining) -> list[str]:
    title, found = _TITLES[mining], summary.no_worse(mining)
    by_how_much = "" if found is None else f": {found[0]:+.4f}, standard error {found[1]:.4f}"
    differences = [summary.loss_difference(arm, float64=True) for arm in peers_of(mining)]
    known = [one for one in differences if one is not None]
    largest = f": {max(known):.0e}" if known else ""
    times = {arm.by: summary.milliseconds(arm) for arm in (Arm(OURS, mining), *peers_of(mining))}
    said = ", ".join(f"{by} {took:.2f} ms" for by, took in times.items() if took is not None)
    return [
        f"- {title}: first {FIRST_STEPS} losses within {LOSSES_AGREE:g}{largest}:"
        f" {_met(summary.agrees(mining))}.",
        f"- {title}: mAP no worse than the best peer's by more than two standard errors of the difference"
        f"{by_how_much}: {_met(summary.is_no_worse(mining))}.",
        f"- {title}: loss + mining faster than either{f': {said}' if said else ''}:"
        f" {_met(summary.is_faster(mining))}.",
    ]


def _identity(summary: Summary) -> str:
    both, alone = (summary.mean(Arm(OURS, "all", identity=identity), "map") for identity in (True, False))
    if both is None or alone is None:
        return "Not measured yet."
    return (
        "Batch-all with a cross-entropy over the people of the training set (label smoothing 0.1) behind a "
        f"BNNeck: mAP {_mean(both)}; batch-all alone {_mean(alone)}. Its time includes the cross-entropy."
    )


def _agreement(title: str, found: Record | None) -> list[str]:
    if found is None:
        return [f"**{title}**: not measured yet."]
    rows = [[name, _digits(ours), _digits(plain)] for name, (ours, plain) in found["figures"].items()]
    largest = max(abs(ours - plain) for ours, plain in found["figures"].values())
    equal = found["largest"] <= _DISTANCES_AGREE and largest <= _FIGURES_AGREE
    verdict = (
        f"The largest difference of two distances is {found['largest']:.0e}, of two figures {largest:.0e}"
        f" (at most {_DISTANCES_AGREE:g} and {_FIGURES_AGREE:g}): {_met(equal)}."
    )
    return [f"**{title}**", table(["", "ours", "independent"], rows), verdict]


def _digits(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6f}"


def _mean(mean: Mean | None) -> str:
    return "" if mean is None else f"{mean.value:.3f} ± {mean.error:.3f}"


def _met(answer: bool | None) -> str:
    return {True: "met", False: "**missed**", None: "not known yet"}[answer]
