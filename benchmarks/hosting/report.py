"""The section of docs/benchmarks.md: what was done, what was aimed at, and what was found."""

from collections.abc import Mapping, Sequence

from benchmarks.core.figures import table
from benchmarks.hosting.figures import Scenario

__all__ = ["render"]

_HOW = """\
## Hosting under stress

{date}, `{command}`. {machine}. {versions}.

`lookalike serve` with the encoder `vehicle` and a client on the same machine, which takes processor time from
it; its share is told. Pictures are drawn by the project, 160 x 120, JPEG and PNG, one a request unless said
otherwise. Every answer is checked: embeddings against those of the quiet server, within 1e-5.
"""


def render(scenarios: Sequence[Scenario], about: Mapping[str, str]) -> str:
    """Return the section as Markdown."""
    parts = [_HOW.format(**about)]
    if any(scenario.curves for scenario in scenarios):
        parts.append(f"![Latency under overload, and memory over time]({about['image']})\n")
    parts += [_part(scenario) for scenario in scenarios]
    return "\n".join(parts)


def _part(scenario: Scenario) -> str:
    verdicts = [
        f"- {one.aim[0].upper()}{one.aim[1:]}: {one.found}: {'met' if one.met else '**not met**'}."
        for one in scenario.criteria
    ]
    rows = table(["", "figure"], [list(row) for row in scenario.rows]).replace("| --: |", "| --- |")
    return "\n".join([f"### {scenario.title}\n", f"{scenario.told}\n", *verdicts, "", rows, ""])
