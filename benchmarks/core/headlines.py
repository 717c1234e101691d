"""The figures that were aimed at, beside what was measured: an aim without a figure is an aim missed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.core.cases import Case
from benchmarks.core.figures import Figures, as_bytes, as_time, table
from benchmarks.core.peers import OURS

__all__ = ["headline_table", "lost_against", "slowest_against"]

SIMPLE_FORMS = ("dense mask", "streamed pairs", "plain sorted")

_BATCH_ALL = Case("batch_all", 1280, 128, 4)
_BATCH_HARD = Case("batch_hard", 8192, 128, 4)
_PAIRWISE = Case("distances", 4096, 512, backward=False)

# Below this, what a call takes is lost in what its process takes anyway.
_LEAST_BYTES = 1_000_000
_NO_MEMORY = "the system does not tell"

# What is measured, what was aimed at, what came out, and whether that is it.
Row = tuple[str, str, str, bool]


def headline_table(figures: Figures, cases: Sequence[Case]) -> str:
    """Return the table of all aims; those that have no figure say why, and are not met."""
    rows = [
        *_against_pml(figures, _BATCH_ALL, "Batch-all", times=20, memory=20),
        *_against_pml(figures, Case("batch_all", 1024, 128, 32), "Batch-all", times=30),
        *_large_batches(figures),
        _simple_forms(figures, [case for case in cases if case.group == "batch_all"]),
        *_against_pml(figures, _BATCH_HARD, "Batch-hard", times=5, memory=10),
        _mined(figures, [case for case in cases if case.group == "batch_hard"]),
        *_pairwise(figures),
    ]
    cells = [[what, aim, measured, "yes" if met else "**no**"] for what, aim, measured, met in rows]
    return table(["what", "aimed at", "measured", "met"], cells)


def slowest_against(
    figures: Figures, cases: Sequence[Case], peers: Sequence[str]
) -> tuple[float, Case] | None:
    """Return where ours is slowest against the best of some peers: our time over theirs, and the case."""
    ratios = []
    for case in cases:
        ours, others = figures.of(case, OURS), _seconds_of(figures, case, peers)
        if ours and others:
            ratios.append((ours.seconds / min(others), case))
    return max(ratios, key=lambda pair: pair[0], default=None)


def lost_against(figures: Figures, cases: Sequence[Case], peers: Sequence[str]) -> list[Case]:
    """Return where one of some peers has a figure, and ours has none."""
    return [case for case in cases if not figures.of(case, OURS) and _seconds_of(figures, case, peers)]


def _seconds_of(figures: Figures, case: Case, peers: Sequence[str]) -> list[float]:
    return [found.seconds for name in peers if (found := figures.of(case, name))]


def _missing(figures: Figures, case: Case, peer: str = "") -> str:
    """Return why ours, or the peer, has no figure; nothing where there are all."""
    names = [name for name in (OURS, peer) if name and not figures.of(case, name)]
    return "; ".join(f"{name}: {figures.why_not(case, name)}" for name in names)


def _against_pml(
    figures: Figures, case: Case, name: str, *, times: float, memory: float | None = None
) -> Iterator[Row]:
    ours, peer = figures.of(case, OURS), figures.of(case, "PML")
    time_of = f"{name}, {case.sizes}: time against PML", f">= {times:g} times as fast"
    memory_of = f"{name}, {case.sizes}: extra memory against PML", f"<= 1/{memory:g}" if memory else ""
    if not ours or not peer:
        why = _missing(figures, case, "PML")
        yield *time_of, why, False
        if memory:
            yield *memory_of, why, False
        return
    ratio = peer.seconds / ours.seconds
    yield *time_of, f"{ratio:.1f} times ({as_time(ours)}; {as_time(peer)})", ratio >= times
    if not memory:
        return
    if ours.bytes is None or peer.bytes is None:
        yield *memory_of, _NO_MEMORY, False
        return
    share = peer.bytes / max(ours.bytes, _LEAST_BYTES)
    yield *memory_of, f"1/{share:.3g} ({as_bytes(ours.bytes)}; {as_bytes(peer.bytes)})", share >= memory


def _large_batches(figures: Figures) -> Iterator[Row]:
    for d in (128, 512):
        case = replace(_BATCH_ALL, n=16384, d=d)
        what, aim = f"Batch-all, {case.sizes}", "<= 120 s, under 1 GiB extra"
        ours = figures.of(case, OURS)
        if ours is None:
            yield what, aim, _missing(figures, case), False
            continue
        met = ours.seconds <= 120 and ours.bytes is not None and ours.bytes < 2**30
        yield what, aim, f"{as_time(ours)}, {as_bytes(ours.bytes)}", met


def _simple_forms(figures: Figures, cases: Sequence[Case]) -> Row:
    what, aim = "Batch-all against the best simple form, at its worst size", "<= 1.3"
    worst = slowest_against(figures, cases, SIMPLE_FORMS)
    lost = lost_against(figures, cases, SIMPLE_FORMS)
    parts = [f"{worst[0]:.2f} at {worst[1].sizes}"] if worst else []
    parts += [f"{_missing(figures, case)} at {case.sizes}" for case in lost]
    if not parts:
        return what, aim, "not measured", False
    compared = sum(
        bool(figures.of(case, OURS) and _seconds_of(figures, case, SIMPLE_FORMS)) for case in cases
    )
    measured = f"{'; '.join(parts)} ({compared} of {len(cases)} sizes compared)"
    return what, aim, measured, not lost and worst is not None and worst[0] <= 1.3


def _mined(figures: Figures, cases: Sequence[Case]) -> Row:
    what = f"Batch-hard: mined rows as the dense form's, at {len(cases)} sizes"
    found = [got for case in cases if (got := figures.found("mined", case))]
    lost = [
        f"{case.sizes} ({figures.problem('mined', case)})"
        for case in cases
        if not figures.found("mined", case)
    ]
    if not found:
        return what, "all", "not compared at any size", False
    same, anchors = (sum(one[name] for one in found) for name in ("same", "anchors"))
    measured = f"{same:,} of {anchors:,} anchors"
    if lost:
        measured += f"; not compared at {', '.join(lost)}"
    return what, "all", measured, not lost and same == anchors


def _pairwise(figures: Figures) -> Iterator[Row]:
    near = replace(_PAIRWISE, data="near")
    for case, peer, bound in ((_PAIRWISE, "cdist, product", 1.3), (near, "cdist, direct", 1.2)):
        yield _time_against(figures, case, peer, bound)
        yield _near_zero(figures, case)


def _time_against(figures: Figures, case: Case, peer: str, bound: float) -> Row:
    what, aim = f"Pairwise Euclidean, {case.sizes}, {case.data} rows: time over {peer}", f"<= {bound}"
    ours, theirs = figures.of(case, OURS), figures.of(case, peer)
    if not ours or not theirs:
        return what, aim, _missing(figures, case, peer), False
    ratio = ours.seconds / theirs.seconds
    return what, aim, f"{ratio:.2f} ({as_time(ours)}; {as_time(theirs)})", ratio <= bound


def _near_zero(figures: Figures, case: Case) -> Row:
    what = f"Pairwise Euclidean, {case.sizes}, {case.data} rows: near zero"
    aim = "0 on equal rows, relative error <= 1e-5"
    errors = figures.found("accuracy", case).get(OURS)
    if not errors:
        return what, aim, f"not compared: {figures.problem('accuracy', case)}", False
    measured = f"{errors['on_equal']:.1g} on equal rows, error {errors['near_error']:.1e}"
    if errors["nan"]:
        measured += f", {errors['nan']:.0f} NaN"
    # Written so that a NaN misses the aim.
    met = errors["on_equal"] == 0 and errors["near_error"] <= 1e-5 and errors["nan"] == 0
    return what, aim, measured, met
