"""The section of the document: a table for each encoder, and whether what was aimed at is met."""

from collections.abc import Mapping
from typing import Any

from benchmarks.core.figures import as_bytes, table
from benchmarks.serving.encoders import Served
from benchmarks.serving.plan import CLIENTS, Plan
from benchmarks.serving.servers import SERVERS, Server
from benchmarks.serving.summary import Cell, Summary

__all__ = ["render", "verdicts"]

_OF_THE_LOOP = 0.85
_SLOW = 0.7
_BESIDE_SLOW = 1.2
_BESIDE_EAGER = 1.5
_OVER_BARE_MS = 3.0
_BUSY = CLIENTS[1:]

_HOW = """\
Every server embeds the same {pictures} JPEGs (320 x 240, about 17 KB), one a request, with the same
network and {threads} threads; one server runs at a time, on the machine that also makes the load. That
comes from wrk, one thread of it; the last column says how much of one core it took itself at {most}
clients. Clients wait for their answer before they ask again. Every number of clients is warmed up, then
timed ({timed} s for {clients} clients); medians of {rounds} in which the servers take turns, the
slowest and fastest in brackets, and one round for the rows with PyTorch. Before and after its loads each
server is asked for {compared} pictures, many at once, and every embedding is compared with eager
PyTorch's: where a cosine similarity is below .9999, there is no figure. Memory is of all processes of a
server, shared pages counted once, after the last load.

The peers run ONNX Runtime as we do, decode with Pillow in {threads} threads (FastAPI in the threads of
its pool), and form batches of up to 64 where they form any; each takes a picture in the form that is its
own. Eager PyTorch is the same code with the network in PyTorch, as these servers' own examples have it.
Versions: {versions}.

The limit is a loop without a server in one process, over all batch sizes from 1 to 64, in three
arrangements: decode a batch with all threads, then encode it with all (in turn); decode the next while
one is encoded (overlapped); or as many loops as threads, each decoding and encoding with one (side by
side). The fastest of all is what servers are measured by. A bare call is one picture decoded and encoded
in that process, alone."""


def _of_rounds(found: int, planned: int) -> str:
    """Return how many rounds the medians are of, where the run was ended before all were done too."""
    return (
        f"{planned} rounds" if found == planned else f"{found} of {planned} rounds (the run was ended early)"
    )


def render(plan: Plan, summaries: Mapping[Served, Summary], about: Mapping[str, Any]) -> str:
    """Return the section as Markdown.

    Args:
        plan: of the run.
        summaries: by encoder.
        about: command, date, machine, versions, threads, rounds, compared, peers and image.
    """
    how = _HOW.format(
        pictures=plan.pictures,
        threads=about["threads"],
        most=CLIENTS[-1],
        timed=", ".join(map(str, plan.timed_s)),
        clients=", ".join(map(str, CLIENTS)),
        rounds=_of_rounds(about["rounds"], plan.rounds),
        compared=about["compared"],
        versions=about["peers"],
    )
    parts = [
        "## The hosted encoder under load",
        f"{about['date']}, `{about['command']}`. {about['machine']}. {about['versions']}.",
        how,
        f"![Pictures a second beside the loop]({about['image']})",
    ]
    for served, summary in summaries.items():
        parts += [
            f"### {served.title}",
            _loops(summary),
            _table(summary),
            "What was aimed at, by the medians:",
            "\n".join(f"- {line}" for line in verdicts(summary)),
        ]
    return "\n\n".join(parts)


def _loops(summary: Summary) -> str:
    bare, limit = summary.bare_ms(), summary.limit()
    if bare is None or limit is None:
        return "The loop has not been measured yet."
    loops = "; ".join(
        f"{one.arrangement} {one.images_per_s:.0f} images/s at batch {one.batch}" for one in summary.loops()
    )
    return f"The loop: {loops}. The limit is {limit.arrangement}. A bare call: {bare:.1f} ms."


def _table(summary: Summary) -> str:
    columns = ["", "takes", f"{CLIENTS[0]} client: p50, p99 ms"]
    for clients in _BUSY:
        columns += [f"{clients} clients: images/s", "of the loop", "p50, p99 ms"]
    columns += ["memory", "server's cores", "wrk's core"]
    return table(columns, [_row(summary, server) for server in SERVERS])


def _row(summary: Summary, server: Server) -> list[str]:
    cells = [summary.cell(server, clients) for clients in CLIENTS]
    known = [cell for cell in cells if cell is not None]
    if len(known) < len(cells):
        nothing = [""] * (3 * len(_BUSY) + 3)
        return [server.title, server.form.title, summary.problem(server), *nothing]
    limit = summary.limit()
    row = [server.title, server.form.title, _times(known[0])]
    for cell in known[1:]:
        share = f"{cell.images_per_s / limit.images_per_s:.2f}" if limit else ""
        row += [_speed(cell), share, _times(cell)]
    last = known[-1]
    memory = as_bytes(summary.memory_bytes(server))
    return [*row, memory, f"{last.server_cpu:.2f}", f"{last.generator_cpu:.0%}"]


def _speed(cell: Cell) -> str:
    failed = f", {cell.failed} failed" if cell.failed else ""
    spread = f" ({cell.slowest:.0f} to {cell.fastest:.0f})" if cell.slowest < cell.fastest else ""
    return f"{cell.images_per_s:.0f}{spread}{failed}"


def _times(cell: Cell) -> str:
    return f"{cell.p50_ms:.1f}, {cell.p99_ms:.1f}"


def verdicts(summary: Summary) -> list[str]:
    """Return a sentence for each thing that was aimed at, with its ratios."""
    ours, limit, bare = summary.ours(), summary.limit(), summary.bare_ms()
    alone = summary.cell(ours, CLIENTS[0])
    if limit is None or bare is None or alone is None:
        return ["Ours, or the loop, has not been measured yet."]
    lines = []
    for clients in _BUSY:
        cell = summary.cell(ours, clients)
        assert cell is not None
        share = cell.images_per_s / limit.images_per_s
        word = _word(share >= _OF_THE_LOOP)
        lines.append(f"{clients} clients, at least {_OF_THE_LOOP} of the loop: {share:.2f}, {word}.")
        lines += _beside(summary, clients, cell, limit.images_per_s)
    over = alone.p50_ms - bare
    lines.append(
        f"{CLIENTS[0]} client, p50 within {_OVER_BARE_MS:g} ms of a bare call: {over:+.1f} ms, "
        f"{_word(over <= _OVER_BARE_MS)}."
    )
    return lines


def _beside(summary: Summary, clients: int, ours: Cell, limit: float) -> list[str]:
    """Compare with every peer: on the same engine, with those far below the loop, and with eager PyTorch."""
    same = _speeds(summary, clients, eager=False)
    slow = {title: speed for title, speed in same.items() if speed < _SLOW * limit}
    eager = _speeds(summary, clients, eager=True)
    aims = [
        ("not below a peer on the same engine", same, 1.0),
        (f"at least {_BESIDE_SLOW} times each of them that is under {_SLOW} of the loop", slow, _BESIDE_SLOW),
        (f"at least {_BESIDE_EAGER} times their eager PyTorch", eager, _BESIDE_EAGER),
    ]
    unknown = [
        peer.title
        for is_eager, speeds in ((False, same), (True, eager))
        for peer in summary.peers(eager=is_eager)
        if peer.title not in speeds
    ]
    lines = (
        [f"{clients} clients, not compared, for want of figures: {', '.join(unknown)}."] if unknown else []
    )
    for aim, speeds, least in aims:
        if speeds:
            ratios = {title: ours.images_per_s / speed for title, speed in speeds.items()}
            said = ", ".join(f"{title} {ratio:.2f}" for title, ratio in ratios.items())
            lines.append(f"{clients} clients, {aim}: {said}; {_word(min(ratios.values()) >= least)}.")
        else:
            lines.append(f"{clients} clients, {aim}: there is none.")
    return lines


def _speeds(summary: Summary, clients: int, *, eager: bool) -> dict[str, float]:
    """Return the images/s of the peers that gave any."""
    cells = {peer.title: summary.cell(peer, clients) for peer in summary.peers(eager=eager)}
    return {title: cell.images_per_s for title, cell in cells.items() if cell and cell.images_per_s > 0}


def _word(met: bool) -> str:
    return "met" if met else "**missed**"
