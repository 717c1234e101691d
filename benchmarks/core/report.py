"""The section of the document that a run writes."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from benchmarks.core.batches import SHARE_COPIED
from benchmarks.core.cases import MARGIN, Case
from benchmarks.core.exactness import NEAR
from benchmarks.core.figures import Figures, as_bytes, as_ratio, as_seconds, table
from benchmarks.core.headlines import headline_table, slowest_against
from benchmarks.core.peers import OURS, peers_of
from benchmarks.core.running import SLOW_S, SLOWEST_S

__all__ = ["render"]

_OTHER_DEFINITION = "PML (other definition)"

_HOW = """\
Every figure is of float32, forward and backward unless a table says otherwise. Times are medians: after
a warm-up, the peers take turns in one process. What takes longer than {slow:.0f} s is timed twice, and
longer than {slowest:.0f} s once (*). Extra memory is what one call adds to the peak of a fresh process
that has made the inputs and gone through a tiny warm-up; the answer and the gradient are in it. A cell
is time, how many times ours that is (below 1: faster than ours), and extra memory. A peer that would
need more than {limit}, or take more than {timeout:.0f} s, is not run, and its cell says so: by a
formula, or from a smaller size. That is a rough guide.

The floor is the larger of two: the matrix products, at {gflops:,.0f} Gflop/s, and reading the inputs and
writing answer and gradient, at {gbytes:,.1f} GB/s. Both rates were measured in the same run, with a big
product and a big copy."""

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
Rows against a copy of themselves, so that every row has an equal one; {100 * SHARE_COPIED:.0f} % are
copies of other rows. Random: normal, with a few copies that differ by 1e-2 to 1e-6. Near: one point with
noise of 1e-3. Clusters: ten points with that noise. torch.cdist is shown in both modes, by matrix
product and direct; scikit-learn uses the product, SciPy works in float64."""

_EXACTNESS = f"""\
How right they are, against differences in float64: the largest value on equal rows (which should be 0),
the largest relative error of the pairs that are near (squared distance at most {NEAR:g} (norm of x
squared + norm of y squared)), and how many are NaN."""

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
        gflops=run["flops_per_s"] / 1e9,
        gbytes=run["bytes_per_s"] / 1e9,
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
    return f"{as_seconds(figure.seconds)}{'*' if figure.once else ''}{ratio}, {as_bytes(figure.bytes)}"


def _same(figures: Figures, case: Case) -> str:
    found: Any = figures.found("mined", case)
    return f"{found['same']:,} of {found['anchors']:,}" if found else "—"


def _exactness_table(figures: Figures, cases: Sequence[Case]) -> str:
    names: list[str] = []
    rows = []
    for case in cases:
        found = figures.found("accuracy", case)
        if not found:
            continue
        names = list(found)
        rows.append([_named(case), *(_errors(found[name]) for name in names)])
    return table(["on equal rows / near / NaN", *names], rows)


def _errors(errors: dict[str, float]) -> str:
    return f"{errors['on_equal']:.1g} / {errors['near_error']:.1g} / {errors['nan']:.0f}"


def _agreement(figures: Figures, cases: Sequence[Case]) -> str:
    """Say how far the losses are apart, and where ours is slowest."""
    apart = 0.0
    for case in cases:
        ours = figures.of(case, OURS)
        for name in peers_of(case):
            peer = figures.of(case, name)
            if ours and peer and ours.loss and peer.loss is not None and name != _OTHER_DEFINITION:
                apart = max(apart, abs(peer.loss - ours.loss) / ours.loss)
    text = f"The losses of one definition agree within {apart:.0e} (relative)."
    others = [name for name in peers_of(cases[0]) if name != OURS]
    worst = slowest_against(figures, cases, others)
    if worst is None:
        return text
    ratio, case = worst
    slower = f"{ratio:.2f} times as long as the fastest other" if ratio > 1 else "less time than every other"
    where = f"N = {case.n}, K = {case.k}, D = {case.d}"
    return f"{text} At its least favourable size ({where}), ours takes {slower}."
