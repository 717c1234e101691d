"""Few-shot classification on Omniglot: trials within alphabets, and episodes over the whole set."""

import numpy as np

from models.datasets import ImageSet
from models.errors import InputError
from models.evaluation.subject import Labels, Subject
from models.metrics import FewShot, Trials, episodes, one_shot_trials, within_alphabet_trials

__all__ = ["FEW_SHOT", "measure_few_shot"]

_EPISODES = 1000
_WITHIN = "within_alphabet_20_way"

FEW_SHOT = {
    _WITHIN: "20-way one-shot within alphabets",
    "episodes_5_way": "5-way one-shot",
    "episodes_20_way": "20-way one-shot",
}


def measure_few_shot(subject: Subject, *, draws: int = 1000, seed: int = 0) -> dict[str, FewShot]:
    """Classify by one shown picture: 20 trials an alphabet, and a thousand episodes of 5 and of 20 ways.

    Args:
        subject: characters, of groups that are their alphabets; files "0001_05.png" with the number of who
            drew it.
        draws: of the intervals' bootstrap.
        seed: of trials, episodes and bootstrap.

    Returns:
        By the keys of `FEW_SHOT`, without those that the set has too few characters for.

    Raises:
        InputError: it has too few for every one.
    """
    found: dict[str, FewShot] = {}
    refusal: InputError | None = None
    for name in FEW_SHOT:
        try:
            trials = _trials(subject, name, seed)
        except InputError as error:
            refusal = error
            continue
        found[name] = one_shot_trials(
            subject.embeddings, trials, metric=subject.metric, draws=draws, seed=seed
        )
    if not found and refusal is not None:
        raise refusal
    return found


def _trials(subject: Subject, name: str, seed: int) -> Trials:
    if name == _WITHIN:
        return within_alphabet_trials(*_characters(subject.images), seed=seed)
    ways = 5 if name == "episodes_5_way" else 20
    return episodes(subject.labels, _EPISODES, ways=ways, seed=seed)


def _characters(images: ImageSet) -> tuple[Labels, Labels, Labels]:
    """Return (N,) the number of each picture's alphabet, of its character, and of who drew it.

    Raises:
        InputError: the alphabet of some picture is unknown.
    """
    alphabets = images.group_labels()
    if alphabets is None:
        raise InputError("Trials within alphabets need a group, its alphabet, for each picture.")
    drawers = [sample.path.stem.rpartition("_")[2] for sample in images.samples]
    return alphabets, images.labels(), np.unique(drawers, return_inverse=True)[1]
