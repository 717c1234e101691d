"""Train and evaluate beside the peers on Market-1501 and LFW, and write docs/benchmarks.md.

python -m benchmarks.learning            all of it (make bench-learning); interrupted, it goes on where it was
python -m benchmarks.learning --quick    a few steps and pictures, into the results' folder
python -m benchmarks.learning --report   measure nothing; write what is there

Each training is a process and a file of results of its own. Results of another plan, machine or set of
versions are not used; those of an earlier state of the code are, until --fresh forgets them.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.core.children import Children, FailedError, TimedOutError
from benchmarks.core.document import put_section
from benchmarks.core.machine import describe_machine, describe_versions
from benchmarks.learning.agreement import TASKS, Task
from benchmarks.learning.arms import ARMS, FULL, QUICK, UNTRAINED, Plan
from benchmarks.learning.plotting import draw
from benchmarks.learning.records import Records
from benchmarks.learning.report import render
from benchmarks.learning.running import Job, measure
from benchmarks.learning.summary import Summary
from service.cpus import available_cpus
from tests.data import DATA

log = logging.getLogger("benchmarks.learning")

_ROOT = Path(__file__).resolve().parents[2]
_SECTION = "bench-learning"
_TIMEOUT_S = 7200.0


def main() -> int:
    """Run from the command line."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    plan = QUICK if options.quick else FULL
    folder = options.results / "quick" if options.quick else options.results
    machine = {"machine": describe_machine("cpu", options.threads), "versions": describe_versions()}
    trainings = Records(folder, asdict(plan) | machine)
    evaluations = Records(folder / "evaluations", {"quick": options.quick} | machine)
    if options.fresh:
        trainings.forget()
        evaluations.forget()
    if not options.report:
        if not DATA.is_dir():
            sys.stderr.write(f"The real pictures and encoders are not in {DATA}; see docs/testing.md.\n")
            return 1
        children = Children(options.threads)
        try:
            failed = _evaluate(evaluations, children, quick=options.quick)
            failed += _train(trainings, children, list(_jobs(plan, folder, options.threads)))
        except KeyboardInterrupt:
            sys.stderr.write("Interrupted. The same command goes on from here.\n")
            return 130
    else:
        failed = 0
    _write(plan, trainings, evaluations, options, machine)
    return 1 if failed else 0


def _command(options: argparse.Namespace) -> str:
    """Return what is typed to measure it again."""
    if options.quick:
        return "python -m benchmarks.learning --quick"
    threads = "" if options.threads == available_cpus() else f" THREADS={options.threads}"
    return f"make bench-learning{threads}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--quick", action="store_true", help="a few steps and pictures, to try the command with"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what has been measured")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the document again")
    parser.add_argument("--threads", type=int, default=available_cpus(), help="of the processor")
    parser.add_argument(
        "--results",
        type=Path,
        default=_ROOT / "benchmarks" / "results" / "learning",
        help="the folder of results",
    )
    parser.add_argument("--document", type=Path, help="the file to write into; else docs/benchmarks.md")
    return parser.parse_args()


def _jobs(plan: Plan, folder: Path, threads: int) -> Iterator[tuple[str, Job]]:
    """Yield names and jobs, seed by seed: what is interrupted after one seed can be compared."""
    data = DATA / "market1501"
    for arm in ARMS:
        if arm.by != UNTRAINED and not arm.identity:
            yield _begun(arm.key), Job(plan, arm, plan.seeds[0], data, folder, threads, begin=True)
    for seed in plan.seeds:
        for arm in ARMS:
            yield _trained(arm.key, seed), Job(plan, arm, seed, data, folder, threads)


def _begun(key: str) -> str:
    return f"{key}-float64"


def _trained(key: str, seed: int) -> str:
    return f"{key}-seed{seed}"


def _train(records: Records, children: Children, jobs: list[tuple[str, Job]]) -> int:
    """Measure what is missing, and return how much of it failed."""
    failed = 0
    for number, (name, job) in enumerate(jobs, start=1):
        if records.get(name) is not None:
            continue
        log.info("training %d of %d: %s", number, len(jobs), name)
        try:
            records.put(name, children.run(measure, job, timeout_s=_TIMEOUT_S))
        except (TimedOutError, FailedError) as error:
            log.warning("%s came to nothing: %s", name, str(error) or "it took too long")
            failed += 1
    return failed


def _evaluate(records: Records, children: Children, *, quick: bool) -> int:
    """Compare the evaluations that are missing, and return how many failed."""
    failed = 0
    for name, compare in TASKS.items():
        if records.get(compare.__name__) is not None:
            continue
        log.info("evaluating %s", name)
        with tempfile.TemporaryDirectory() as work:
            try:
                found = children.run(compare, Task(DATA, Path(work), quick), timeout_s=_TIMEOUT_S)
            except (TimedOutError, FailedError) as error:
                log.warning("%s came to nothing: %s", name, str(error) or "it took too long")
                failed += 1
                continue
        records.put(compare.__name__, found)
    return failed


def _write(
    plan: Plan, trainings: Records, evaluations: Records, options: argparse.Namespace, machine: dict[str, str]
) -> None:
    """Write the plot and the section; a quick run's are for a look, and go beside its results."""
    first = plan.seeds[0]
    summary = Summary(
        plan,
        {
            (arm, seed): found
            for arm in ARMS
            for seed in plan.seeds
            if (found := trainings.get(_trained(arm.key, seed)))
        },
        {(arm, first): found for arm in ARMS if (found := trainings.get(_begun(arm.key)))},
    )
    document = options.document
    if document is None:
        document = trainings.folder / "quick.md" if options.quick else _ROOT / "docs" / "benchmarks.md"
    image = "images/learning.svg"
    draw(summary, document.parent / image)
    about = {
        "title": "Learning",
        "command": _command(options),
        "image": image,
        **machine,
    }
    agreements = {name: evaluations.get(compare.__name__) for name, compare in TASKS.items()}
    put_section(document, _SECTION, render(summary, agreements, about))
    log.info("Written: %s and %s", document, document.parent / image)


if __name__ == "__main__":
    sys.exit(main())
