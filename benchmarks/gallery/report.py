"""The section of docs/benchmarks.md."""

from collections.abc import Mapping, Sequence

from benchmarks.core.figures import table
from benchmarks.gallery.figures import Part

__all__ = ["render"]

_HOW = """\
## The gallery

{date}, `{command}`. {machine}. {versions}. Peers: {peers}.

Vectors of length 1 that look like embeddings: the centres of 2,000 to 50,000 identities in a subspace of
rank 40, with Gaussian noise in all dimensions that is as long as they are, float32. Queries are fresh
draws of the same identities. Recall is that of the {k} nearest of {checked:,} queries against an exact
scan of the same rows, ties included, and everybody's is at least {recall}: the effort of a search
(efSearch and the like) is raised from 16 until it is, and Lookalike finds its own. Milvus's REST has no
parameter for it: its graph has more links (M 32), and it is asked for more rows than the {k}, of which
the first {k} count, until they suffice. The bare handler and the loop have the kind of index that
Lookalike chose, with the same parameters of its building, and Chroma and pgvector HNSW with M 16 and
efConstruction 100. Where one has no figures, its reason stands in its row. A server has {rest} s after
its start, in which it may read what it will need, and each load is warmed up.

Each server is filled and tuned once, and then started again for each round ({rounds} in all), in which they
take turns; one runs at a time, on the machine that also makes the load. That comes from wrk, which goes
through {queries:,} prepared requests with one thread (pgbench through 100 of them, for pgvector); the table
says how much of one core it took itself. Figures are medians of the rounds, the slowest and fastest in
brackets. Memory is of all processes of a server, shared pages counted once, after the last load.
"""


def render(parts: Sequence[Part], about: Mapping[str, object]) -> str:
    """Return the section as Markdown.

    Args:
        parts: of the scenarios that have been measured.
        about: date, command, machine, versions, peers, k, recall, rest, rounds, checked, queries and image.
    """
    texts = [_HOW.format(**about)]
    if any(one.curves for one in parts):
        texts.append(f"![Searches a second, and filtered searches by share]({about['image']})\n")
    texts += [_text(one) for one in parts]
    return "\n".join(texts)


def _text(part: Part) -> str:
    verdicts = [
        f"- {one.aim[0].upper()}{one.aim[1:]}: {one.found}: {'met' if one.met else '**not met**'}."
        for one in part.criteria
    ]
    rows = table(list(part.columns), [list(row) for row in part.rows])
    return "\n".join([f"### {part.title}\n", f"{part.told}\n", *verdicts, "", rows, ""])
