"""Measure the numerical core against its peers, and write docs/benchmarks.md.

python -m benchmarks.core            all of it (make bench-core); interrupted, it goes on where it was
python -m benchmarks.core --quick    a few small cases, into benchmarks/results/
"""

import argparse
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.core.cases import LEFT_OUT, all_cases, quick_cases
from benchmarks.core.children import Children
from benchmarks.core.document import put_section
from benchmarks.core.figures import Figures
from benchmarks.core.machine import describe_machine, describe_versions, fingerprint, memory_bytes
from benchmarks.core.plotting import draw
from benchmarks.core.report import render
from benchmarks.core.results import Results
from benchmarks.core.running import Limits, Runner
from service.cpus import available_cpus

log = logging.getLogger("benchmarks.core")

_ROOT = Path(__file__).resolve().parents[2]
_RESULTS = _ROOT / "benchmarks" / "results"
_MOST_PEER_BYTES = 12e9
_TITLES = {"cpu": "The numerical core", "cuda": "The numerical core on a GPU"}


def main() -> int:
    """Run from the command line."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("There is no GPU that torch can use here.\n")
        return 1
    name = f"core-{options.device}{'-quick' if options.quick else ''}"
    results = Results(_RESULTS / f"{name}.jsonl")
    cases = quick_cases() if options.quick else all_cases()
    if not options.report:
        limits = _limits(options)
        if not options.again:
            _begin(results, options, limits)
        # A GPU's driver maps far more than it takes.
        bound = None if options.device == "cuda" else int(memory_bytes("cpu") * 0.75)
        try:
            runner = Runner(results, Children(options.threads, bound), limits, options.device)
            if options.again:
                runner.time_again([case for case in cases if options.again in case.key])
                earlier = (results.get("again") or {"what": []})["what"]
                results.add("again", what=[*earlier, options.again])
            else:
                runner.run(cases)
        except KeyboardInterrupt:
            sys.stderr.write("Interrupted. The same command goes on from here.\n")
            return 130
        if results.get("finished") is None:
            results.add("finished")
    if results.get("floors") is None:
        sys.stderr.write("Nothing has been measured yet.\n")
        return 1
    _write(results, cases, options, name)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a few small cases, to try the command with")
    parser.add_argument("--fresh", action="store_true", help="forget what an interrupted run has measured")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the document again")
    parser.add_argument(
        "--again", metavar="TEXT", help="time the cases whose key has TEXT once more, in place"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute")
    parser.add_argument("--threads", type=int, default=available_cpus(), help="of the processor")
    parser.add_argument("--timeout-s", type=float, default=45.0, help="for one call of a peer")
    return parser.parse_args()


def _limits(options: argparse.Namespace) -> Limits:
    share = memory_bytes(options.device) / 2
    return Limits(share if options.device == "cuda" else min(_MOST_PEER_BYTES, share), options.timeout_s)


def _begin(results: Results, options: argparse.Namespace, limits: Limits) -> None:
    """Go on with a run that was interrupted, if what it measures is still the same; else start one."""
    about = {
        "title": _TITLES[options.device],
        "machine": describe_machine(options.device, options.threads),
        "versions": describe_versions(),
        "peer_bytes": limits.peer_bytes,
        "peer_timeout_s": limits.peer_timeout_s,
        "command": _command(options),
    }
    state = fingerprint(about)
    started = results.get("started")
    if started and started["state"] != state:
        log.info(
            "The code, the machine or the options have changed since the interrupted run: starting anew."
        )
    if options.fresh or results.get("finished") or (started and started["state"] != state):
        results.forget()
    if results.get("started"):
        log.info("Going on with the run of %s, with %d results.", started and started["date"], len(results))
        return
    results.add("started", date=f"{datetime.now(UTC):%Y-%m-%d}", state=state, about=about)


def _command(options: argparse.Namespace) -> str:
    if options.device == "cpu" and not options.quick:
        return "make bench-core"
    return f"python -m benchmarks.core --device {options.device}{' --quick' if options.quick else ''}"


def _write(results: Results, cases: list[Any], options: argparse.Namespace, name: str) -> None:
    """Write the plot and the section; a quick run's are for a look, and go beside its results."""
    folder = _RESULTS if options.quick else _ROOT / "docs"
    document = folder / ("quick.md" if options.quick else "benchmarks.md")
    image = f"images/{name}.svg"
    figures = Figures(results)
    started, floors = results.get("started"), results.get("floors")
    assert started
    assert floors
    draw(figures, cases, folder / image)
    again = dict.fromkeys((results.get("again") or {"what": []})["what"])
    left_out = "A few small cases only, to try the command with." if options.quick else LEFT_OUT
    if again:
        left_out += (
            f" Timed once more afterwards, in place (`--again`): {', '.join(f'`{one}`' for one in again)}."
        )
    run = {**started["about"], "date": started["date"], "left_out": left_out, **floors}
    section = "bench-core" if options.device == "cpu" else f"bench-core-{options.device}"
    put_section(document, section, render(figures, cases, run, image))
    log.info("Written: %s and %s", document.relative_to(_ROOT), image)


if __name__ == "__main__":
    sys.exit(main())
