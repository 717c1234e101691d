"""The section of the document that a run writes."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from benchmarks.core.batches import SHARE_COPIED
from benchmarks.core.cases import MARGIN, Case
from benchmarks.core.exactness import NEAR
from benchmarks.core.figures import NOISY, Figures, as_bytes, as_ratio, as_seconds, as_time, table
from benchmarks.core.headlines import headline_table, lost_against, slowest_against
from benchmarks.core.peers import OURS, peers_of
from benchmarks.core.running import SLOW_S, SLOWEST_S

__all__ = ["render"]

_OTHER_DEFINITION = "PML (other definition)"

_HOW = """\
Every figure is of float32, forward and backward unless a table says otherwise. Times are medians: after
a warm-up, the peers take turns in one process. What takes longer than {slow:.0f} s at first is timed once
more, and the mean stands; longer than {slowest:.0f} s, it is timed once, after a tiny warm-up only (*).
{failed}A median of more than {noisy:g} times the fastest call, the first among them, is marked ≈: it was not
the computation alone that took so long, and what is made of it may be as far off.

Extra memory is what one call adds to the peak of a fresh process that has made the inputs and gone
through a tiny warm-up; the answer and the gradient are in it. A cell is time, how many times ours that is
(below 1: faster than ours), and extra memory. A peer that would need more than {limit}, or take more than
{timeout:.0f} s, is not run, and its cell says so: by a rough formula, or from a smaller size by N squared,
which is the least that any of them grows by.

The floor is the larger of two: the matrix products, at {gflops:,.0f} Gflop/s, and reading the inputs and
writing answer and gradient, at {gbytes:,.1f} GB/s. Both rates were measured in the same run, with a big
product and a big copy. Distances of x and y are one product, and two more for both gradients. A loss
compares x with itself: of its distances, which are symmetric, the floor counts half a product, though
torch has none that does half the work; of batch-all's gradient, (W + W^T) x, one; of the other gradients,
which touch few pairs, nothing.

{left_out}"""

_BATCH_ALL = f"""\
Margin {MARGIN}, the mean over active triplets. PML enumerates all triplets as indices
(`TripletMarginLoss(triplets_per_anchor="all")`, without its normalisation). The dense mask is the N x N
x N tensor of the tutorials; streamed pairs holds a tile of (positive pairs x N) at a time; plain sorted
sorts each anchor's negatives and leaves the gradient to autograd. These three are in
`benchmarks/core/simple_losses.py`."""

_BATCH_HARD = f"""\
Margin {MARGIN}, the mean over anchors. PML is its `BatchHardMiner` and `TripletMarginLoss` with a
`MeanReducer`; dense is the N x N form in torch. The last column counts the anchors whose mined rows,
positive and negative, are those of the dense form on our own distances."""

_SEMI_HARD = f"""\
Margin {MARGIN}, the mean over positive pairs, as TensorFlow Addons defines it; its form repeats the
distances N times. PML's semi-hard is another definition: its `TripletMarginMiner` takes every triplet
with a negative between the positive and the margin, not one for each pair. It is here for its cost, not
its value."""

_DISTANCES = f"""\
Rows against a copy of themselves, and {100 * SHARE_COPIED:.0f} % are copies of other rows. So every row
has an equal one in the data called random too: its own copy counts as near, and as equal. Random: normal,
with a few copies that differ by 1e-2 to 1e-6. Near: one point with noise of 1e-3. Clusters: ten points with
that noise. torch.cdist is shown in both modes, by matrix product and direct; scikit-learn uses the product,
SciPy works in float64."""

_EXACTNESS = f"""\
How right they are, against differences in float64: the largest value on equal rows (which should be 0),
the largest relative error of the pairs that are near (not equal, squared distance at most {NEAR:g} (norm
of x squared + norm of y squared)), and how many are NaN."""

_METRICS = """\
Forward. Minkowski is p = 3; torch.cdist's Hamming is its p = 0 over D. SciPy's KL is `rel_entr`, a row
at a time. Only squared Euclidean, cosine and KL have a product in their floor."""


def render(figures: Figures, cases: Sequence[Case], run: dict[str, Any], image: str) -> str:
    """Return the section as Markdown.

    Args:
        figures: of the run.
        cases: all that the run was to measure.
        run: when, where and with what; and its limits.
        image: the path of the plot from the document.
    """
    of = {group: list(members) for group, members in groupby(cases, lambda case: case.group)}
    how = _HOW.format(
        limit=as_bytes(run["peer_bytes"]),
        timeout=run["peer_timeout_s"],
        slow=SLOW_S,
        slowest=SLOWEST_S,
        noisy=NOISY,
        gflops=run["flops_per_s"] / 1e9,
        gbytes=run["bytes_per_s"] / 1e9,
        failed=_failed_times(figures, cases),
        left_out=run["left_out"],
    )
    parts = [
        f"## {run['title']}",
        f"{run['date']}, `{run['command']}`. {run['machine']}. {run['versions']}.",
        how,
        "### What was aimed at",
        headline_table(figures, cases),
        f"![Time and extra memory by batch size]({image})",
        "### Batch-all",
        f"{_BATCH_ALL}\n{_agreement(figures, of['batch_all'])}",
        *_loss_tables(figures, of["batch_all"]),
        "### Batch-hard",
        f"{_BATCH_HARD}\n{_agreement(figures, of['batch_hard'])}",
        *_loss_tables(figures, of["batch_hard"]),
        "### Semi-hard",
        f"{_SEMI_HARD}\n{_agreement(figures, of['semi_hard'])}",
        *_loss_tables(figures, of["semi_hard"]),
        "### Euclidean distances",
        _DISTANCES,
        *_distance_tables(figures, of["distances"]),
        _EXACTNESS,
        _exactness_table(figures, of["distances"]),
        "### Other metrics",
        f"{of['metrics'][0].n} x {of['metrics'][0].n} x {of['metrics'][0].d}. {_METRICS}",
        _cost_table(figures, of["metrics"], lambda case: case.metric),
    ]
    return "\n\n".join(parts)


def _loss_tables(figures: Figures, cases: Iterable[Case]) -> list[str]:
    parts = []
    for (k, d), members in groupby(cases, lambda case: (case.k, case.d)):
        parts += [f"K = {k}, D = {d}:", _cost_table(figures, list(members), lambda case: str(case.n), "N")]
    return parts


def _distance_tables(figures: Figures, cases: Sequence[Case]) -> list[str]:
    parts = []
    for backward, members in groupby(cases, lambda case: case.backward):
        parts += [
            "Forward and backward:" if backward else "Forward:",
            _cost_table(figures, list(members), _named),
        ]
    return parts


def _named(case: Case) -> str:
    return f"{case.n} x {case.n} x {case.d}, {case.data}"


def _cost_table(figures: Figures, cases: Sequence[Case], name_of: Any, first: str = "") -> str:
    """Return the table of what each peer takes; a peer that knows not every case has empty cells."""
    names = max((list(peers_of(case)) for case in cases), key=len)
    mined = cases[0].group == "batch_hard"
    rows = []
    for case in cases:
        cells = [_cell(figures, case, name) if name in peers_of(case) else "" for name in names]
        floor = figures.floor_s(case)
        row = [name_of(case), *cells, as_seconds(floor) if floor else "—"]
        rows.append([*row, _same(figures, case)] if mined else row)
    columns = [first, *names, "floor"]
    return table([*columns, "same rows"] if mined else columns, rows)


def _cell(figures: Figures, case: Case, name: str) -> str:
    figure, ours = figures.of(case, name), figures.of(case, OURS)
    if figure is None:
        return f"({figures.why_not(case, name)})"
    ratio = "" if name == OURS or ours is None else f" ({as_ratio(figure.seconds / ours.seconds)} x)"
    return f"{as_time(figure)}{ratio}, {as_bytes(figure.bytes)}"


def _same(figures: Figures, case: Case) -> str:
    found = figures.found("mined", case)
    if not found:
        return f"(not compared: {figures.problem('mined', case)})"
    return f"{found['same']:,} of {found['anchors']:,}"


def _failed_times(figures: Figures, cases: Sequence[Case]) -> str:
    """Say where the peers could not be timed in turns: what is shown there is a first call."""
    failed = [
        f"{case.group.replace('_', '-')}, {case.sizes} ({problem})"
        for case in cases
        if any(figures.of(case, name) for name in peers_of(case))
        and (problem := figures.problem("times", case))
    ]
    return f"So are the times where taking turns came to nothing: {'; '.join(failed)}.\n" if failed else ""


def _exactness_table(figures: Figures, cases: Sequence[Case]) -> str:
    names: list[str] = []
    rows = []
    for case in cases:
        if case.backward:
            continue
        names = list(peers_of(case))
        found = figures.found("accuracy", case)
        why = f"(not compared: {figures.problem('accuracy', case)})"
        rows.append([_named(case), *(_errors(found[name]) if name in found else why for name in names)])
    return table(["on equal rows / near / NaN", *names], rows)


def _errors(errors: dict[str, float]) -> str:
    return f"{errors['on_equal']:.1g} / {errors['near_error']:.1g} / {errors['nan']:.0f}"


def _agreement(figures: Figures, cases: Sequence[Case]) -> str:
    """Say how far the losses are apart, and where ours is slowest."""
    text = _how_far(list(_differences(figures, cases)))
    others = [name for name in peers_of(cases[0]) if name != OURS]
    lost = lost_against(figures, cases, others)
    if lost:
        text += f" Ours has no figure at {'; '.join(case.sizes for case in lost)}, where another has."
    worst = slowest_against(figures, cases, others)
    if worst is None:
        return text
    ratio, case = worst
    slower = f"{ratio:.2f} times as long as the fastest other" if ratio > 1 else "less time than every other"
    return f"{text} At its least favourable size ({case.sizes}), ours takes {slower}."


def _differences(figures: Figures, cases: Sequence[Case]) -> Iterator[float]:
    """Yield how far each other's loss is from ours, relative to the larger; not finite: infinitely far."""
    for case in cases:
        ours = figures.of(case, OURS)
        for name in peers_of(case):
            peer = figures.of(case, name)
            if name in {OURS, _OTHER_DEFINITION} or not ours or not peer:
                continue
            if ours.loss is None or peer.loss is None:
                continue
            if not (math.isfinite(ours.loss) and math.isfinite(peer.loss)):
                yield math.inf
            elif ours.loss == peer.loss:
                yield 0.0
            else:
                yield abs(peer.loss - ours.loss) / max(abs(ours.loss), abs(peer.loss))


def _how_far(differences: Sequence[float]) -> str:
    if not differences:
        return "The losses of one definition were not compared."
    apart = max(differences)
    if math.isinf(apart):
        return "**The losses of one definition disagree: one of them is not finite.**"
    return f"The losses of one definition agree within {apart:.0e} (relative, {len(differences)} compared)."
