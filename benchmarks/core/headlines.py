"""The figures that were aimed at, beside what was measured."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.core.cases import Case
from benchmarks.core.figures import Figure, Figures, as_bytes, as_seconds, table
from benchmarks.core.peers import OURS

__all__ = ["headline_table", "slowest_against"]

SIMPLE_FORMS = ("dense mask", "streamed pairs", "plain sorted")

_BATCH_ALL = Case("batch_all", 1280, 128, 4)
_BATCH_HARD = Case("batch_hard", 8192, 128, 4)
_PAIRWISE = Case("distances", 4096, 512, backward=False)

# What is measured, what was aimed at, what came out, and whether that is it.
Row = tuple[str, str, str, bool]


def headline_table(figures: Figures, cases: Sequence[Case]) -> str:
    """Return the table of all aims whose cases were measured."""
    rows = [
        *_against_pml(figures, _BATCH_ALL, "Batch-all", times=20, memory=20),
        *_against_pml(figures, Case("batch_all", 1024, 128, 32), "Batch-all", times=30),
        *_large_batches(figures),
        *_simple_forms(figures, cases),
        *_against_pml(figures, _BATCH_HARD, "Batch-hard", times=5, memory=10),
        *_mined(figures, cases),
        *_pairwise(figures),
    ]
    cells = [[what, aim, measured, "yes" if met else "**no**"] for what, aim, measured, met in rows]
    return table(["what", "aimed at", "measured", "met"], cells) if cells else "Not measured in this run."


def slowest_against(
    figures: Figures, cases: Sequence[Case], peers: Sequence[str]
) -> tuple[float, Case] | None:
    """Return where ours is slowest against the best of some peers: our time over theirs, and the case."""
    ratios = []
    for case in cases:
        ours = figures.of(case, OURS)
        others = [found.seconds for name in peers if (found := figures.of(case, name))]
        if ours and others:
            ratios.append((ours.seconds / min(others), case))
    return max(ratios, key=lambda pair: pair[0], default=None)


def _against_pml(
    figures: Figures, case: Case, name: str, *, times: float, memory: float | None = None
) -> Iterator[Row]:
    ours, peer = figures.of(case, OURS), figures.of(case, "PML")
    where = f"{name}, N = {case.n}, K = {case.k}, D = {case.d}"
    if not ours or not peer:
        return
    ratio = peer.seconds / ours.seconds
    taken = f"{ratio:.1f} times ({as_seconds(ours.seconds)}; {as_seconds(peer.seconds)})"
    yield f"{where}: time against PML", f">= {times:g} times as fast", taken, ratio >= times
    if memory is None or ours.bytes is None or peer.bytes is None:
        return
    share = peer.bytes / max(ours.bytes, 1)
    held = f"1/{share:.0f} ({as_bytes(ours.bytes)}; {as_bytes(peer.bytes)})"
    yield f"{where}: extra memory against PML", f"<= 1/{memory:g}", held, share >= memory


def _large_batches(figures: Figures) -> Iterator[Row]:
    for d in (128, 512):
        case = replace(_BATCH_ALL, n=16384, d=d)
        ours = figures.of(case, OURS)
        if ours is None:
            continue
        met = ours.seconds <= 120 and (ours.bytes or 0) < 2**30
        measured = f"{as_seconds(ours.seconds)}, {as_bytes(ours.bytes)}"
        yield f"Batch-all, N = 16384, K = 4, D = {d}", "<= 120 s, under 1 GiB extra", measured, met


def _simple_forms(figures: Figures, cases: Sequence[Case]) -> Iterator[Row]:
    worst = slowest_against(figures, [case for case in cases if case.group == "batch_all"], SIMPLE_FORMS)
    if worst:
        ratio, case = worst
        measured = f"{ratio:.2f} at N = {case.n}, K = {case.k}, D = {case.d}"
        yield "Batch-all against the best simple form, at its worst size", "<= 1.3", measured, ratio <= 1.3


def _mined(figures: Figures, cases: Sequence[Case]) -> Iterator[Row]:
    found = [got for case in cases if case.group == "batch_hard" and (got := figures.found("mined", case))]
    if found:
        same, anchors = (sum(int(str(one[name])) for one in found) for name in ("same", "anchors"))
        measured = f"{same:,} of {anchors:,} anchors"
        yield "Batch-hard: mined rows as the dense form's, all sizes", "all", measured, same == anchors


def _pairwise(figures: Figures) -> Iterator[Row]:
    near = replace(_PAIRWISE, data="near")
    for case, peer, bound in ((_PAIRWISE, "cdist, product", 1.3), (near, "cdist, direct", 1.2)):
        ours, theirs = figures.of(case, OURS), figures.of(case, peer)
        errors = figures.found("accuracy", case).get(OURS)
        where = f"Pairwise Euclidean, 4096 x 4096 x 512, {case.data} rows"
        if ours and theirs:
            yield _ratio_row(where, peer, bound, (ours, theirs))
        if errors:
            measured = f"{errors['on_equal']:.1g} on equal rows, error {errors['near_error']:.1e}"
            met = errors["on_equal"] == 0 and errors["near_error"] <= 1e-5
            yield f"{where}: near zero", "0 on equal rows, relative error <= 1e-5", measured, met


def _ratio_row(where: str, peer: str, bound: float, pair: tuple[Figure, Figure]) -> Row:
    ours, theirs = (one.seconds for one in pair)
    measured = f"{ours / theirs:.2f} ({as_seconds(ours)}; {as_seconds(theirs)})"
    return f"{where}: time over {peer}", f"<= {bound}", measured, ours / theirs <= bound
