"""Few-shot classification: which of N classes, of each of which one or a few pictures are shown, is this?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.distances import Metric, pairwise
from models.errors import InputError, ShapeError
from models.metrics.intervals import Interval, bootstrap_mean
from models.metrics.strips import NOBODY, Labels, Rows

__all__ = ["FewShot", "Trials", "episodes", "one_shot_trials", "within_alphabet_trials"]


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials as rows of a set of embeddings.

    Attributes:
        support: (T, N, K) int64, the K pictures that are shown of each of the N classes.
        queries: (T, M) int64, the pictures to classify.
        targets: (T, M) int64, which of the N classes each is of.
    """

    support: npt.NDArray[np.int64]
    queries: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]


@dataclass(frozen=True)
class FewShot:
    """N-way K-shot accuracy.

    Attributes:
        accuracy: the share of queries put into their class.
        error: 1 - accuracy.
        interval: of the accuracy, by a bootstrap over the classes of the queries. Trials are drawn from a few
            classes again and again: over trials it would say how well these were measured, not what others
            would give.
        ways, shots: N and K.
        trials, queries: how many trials there are, and how many queries in all of them.
    """

    accuracy: float
    error: float
    interval: Interval
    ways: int
    shots: int
    trials: int
    queries: int


def one_shot_trials(
    embeddings: Rows,
    trials: Trials,
    *,
    labels: Labels,
    metric: Metric | str = "euclidean",
    draws: int = 1000,
    seed: int = 0,
) -> FewShot:
    """Classify each query as the class whose prototype is nearest.

    A prototype is the class's one picture, or the mean of its K embeddings.

    A tie is an error: a query counts only where its class is strictly nearer than every other, so that an
    encoder that maps everything to one point has an accuracy of 0.

    Args:
        embeddings: (N, D), any real dtype; not modified.
        trials: rows of these.
        labels: (N,), the classes of the rows, throughout all trials: the interval's bootstrap draws these.
        metric: a row metric; d(query, prototype).
        draws: of the interval's bootstrap.
        seed: of these draws.

    Raises:
        ShapeError: trials of shapes that do not fit each other, or empty; not one label for each row.
        InputError: rows or targets that do not exist; as `models.distances.pairwise`.

    Source:
        Lake, Salakhutdinov and Tenenbaum, Human-level concept learning, 2015 (20-way one-shot trials);
        Snell, Swersky and Zemel, Prototypical Networks, 2017, equations 1 and 2 (prototypes).
    """
    _check(trials, len(embeddings))
    if labels.shape != (len(embeddings),):
        raise ShapeError(
            f"Each of {len(embeddings)} rows needs one label; got {labels.shape}.",
            argument="labels",
            expected=len(embeddings),
            got=labels.shape,
        )
    rows = torch.as_tensor(embeddings).detach()
    correct = np.array(
        [
            _correct(rows[torch.from_numpy(support)], rows[torch.from_numpy(queries)], targets, metric)
            for support, queries, targets in zip(trials.support, trials.queries, trials.targets, strict=True)
        ]
    )
    accuracy = float(correct.mean())
    return FewShot(
        accuracy=accuracy,
        error=1 - accuracy,
        interval=bootstrap_mean(
            correct.ravel().astype(np.float64), labels[trials.queries].ravel(), draws=draws, seed=seed
        ),
        ways=trials.support.shape[1],
        shots=trials.support.shape[2],
        trials=len(correct),
        queries=correct.size,
    )


def episodes(
    labels: Labels, count: int, *, ways: int = 20, shots: int = 1, queries: int = 1, seed: int = 0
) -> Trials:
    """Draw episodes: N classes, and of each K pictures to show and some others to classify, all at random.

    Args:
        labels: (N,), the classes of a set of embeddings; those with too few pictures take no part, nor do
            pictures of -1.
        count: how many episodes.
        ways: N.
        shots: K.
        queries: how many pictures of each class to classify.
        seed: the same seed gives the same episodes.

    Raises:
        InputError: a number below 1, or fewer than N classes with as many pictures as are needed.
    """
    _positive(count=count, ways=ways, shots=shots, queries=queries)
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] != NOBODY]
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    groups = [rows for rows in groups if len(rows) >= shots + queries]
    if len(groups) < ways:
        raise InputError(
            f"{ways}-way episodes need {ways} classes of at least {shots + queries} pictures, and there are "
            f"{len(groups)}.",
            argument="labels",
        )
    generator = np.random.default_rng(seed)
    drawn = np.array(
        [
            [
                generator.choice(groups[group], shots + queries, replace=False)
                for group in generator.choice(len(groups), ways, replace=False)
            ]
            for _ in range(count)
        ]
    )
    targets = np.broadcast_to(np.arange(ways)[:, None], (count, ways, queries))
    return Trials(drawn[:, :, :shots], drawn[:, :, shots:].reshape(count, -1), targets.reshape(count, -1))


def within_alphabet_trials(
    alphabets: Labels, characters: Labels, drawers: Labels, *, runs: int = 20, ways: int = 20, seed: int = 0
) -> Trials:
    """Draw one-shot trials in the form of Omniglot's official runs.

    Each run takes N characters of one alphabet and two people: what the first drew is shown, what the second
    drew is classified, once for each character.

    Args:
        alphabets: (N,), of each picture.
        characters: (N,), numbered within an alphabet or throughout.
        drawers: (N,), who drew it.
        runs: how many for each alphabet that has N characters, which both people have drawn.
        ways: N.
        seed: the same seed gives the same trials.

    Raises:
        ShapeError: labels that do not fit each other.
        InputError: a number below 1, or no alphabet with N characters that two people drew.
    """
    _positive(runs=runs, ways=ways)
    if alphabets.ndim != 1 or not alphabets.shape == characters.shape == drawers.shape:
        raise ShapeError(
            "Each picture needs an alphabet, a character and a drawer; got "
            f"{alphabets.shape}, {characters.shape} and {drawers.shape}.",
            argument="alphabets",
        )
    generator = np.random.default_rng(seed)
    shown, asked = [], []
    for alphabet in np.unique(alphabets):
        rows = np.flatnonzero(alphabets == alphabet)
        # Of several pictures of a character by one person the first counts.
        _, character = np.unique(characters[rows], return_inverse=True)
        _, drawer = np.unique(drawers[rows], return_inverse=True)
        table = np.full((character.max() + 1, drawer.max() + 1), -1)
        table[character[::-1], drawer[::-1]] = rows[::-1]
        drew = (table >= 0).astype(np.int64)
        pairs = np.argwhere(np.triu(drew.T @ drew >= ways, k=1))  # people with N characters in common
        for _ in range(runs if len(pairs) else 0):
            first, second = generator.permutation(pairs[generator.integers(len(pairs))])
            common = np.flatnonzero(drew[:, first] & drew[:, second])
            chosen = generator.choice(common, ways, replace=False)
            shown.append(table[chosen, first])
            asked.append(table[chosen, second])
    if not shown:
        raise InputError(
            f"No alphabet has {ways} characters that two people drew; ask for fewer ways.", argument="ways"
        )
    support, queries = np.array(shown), np.array(asked)
    return Trials(support[:, :, None], queries, np.broadcast_to(np.arange(ways), queries.shape))


def _correct(
    support: torch.Tensor, queries: torch.Tensor, targets: npt.NDArray[np.int64], metric: Metric | str
) -> npt.NDArray[np.bool_]:
    """Return for each query whether its class is nearer than all others."""
    shots = support.shape[1]
    prototypes = support[:, 0] if shots == 1 else support.to(torch.result_type(support, 1.0)).mean(1)
    distances = pairwise(queries, prototypes, metric).cpu().numpy()
    of_class = np.take_along_axis(distances, targets[:, None], axis=1)
    correct: npt.NDArray[np.bool_] = (distances <= of_class).sum(axis=1) == 1  # its class, and nothing else
    return correct


def _check(trials: Trials, rows: int) -> None:
    support, queries, targets = trials.support, trials.queries, trials.targets
    if (
        support.ndim != 3
        or queries.ndim != 2
        or queries.shape != targets.shape
        or len(support) != len(queries)
    ):
        raise ShapeError(
            "Trials need support (T, N, K), queries (T, M) and targets (T, M); got "
            f"{support.shape}, {queries.shape} and {targets.shape}.",
            argument="trials",
        )
    if not support.size or not queries.size:
        raise ShapeError("There are no trials to run.", argument="trials", expected=">= 1", got=0)
    for name, numbers, below in (
        ("support", support, rows),
        ("queries", queries, rows),
        ("targets", targets, support.shape[1]),
    ):
        if numbers.min() < 0 or numbers.max() >= below:
            raise InputError(f"The {name} of the trials must be from 0 to {below - 1}.", argument=name)


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise InputError(f"{name} must be at least 1, not {number}.", argument=name)
