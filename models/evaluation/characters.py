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


def measure_few_shot(
    subject: Subject, *, draws: int = 1000, seed: int = 0
) -> tuple[dict[str, FewShot], dict[str, str]]:
    """Classify by one shown picture: 20 trials an alphabet, and a thousand episodes of 5 and of 20 ways.

    Args:
        subject: characters, of groups that are their alphabets; files "0001_05.png" with the number of who
            drew it.
        draws: of the intervals' bootstrap.
        seed: of trials, episodes and bootstrap.

    Returns:
        Both by the keys of `FEW_SHOT`: what was found, and why the others cannot be measured on the set.
    """
    found: dict[str, FewShot] = {}
    refused: dict[str, str] = {}
    for name in FEW_SHOT:
        try:
            trials = _trials(subject, name, seed)
        except InputError as error:
            refused[name] = str(error)
            continue
        found[name] = one_shot_trials(
            subject.embeddings, trials, labels=subject.labels, metric=subject.metric, draws=draws, seed=seed
        )
    return found, refused


def _trials(subject: Subject, name: str, seed: int) -> Trials:
    if name == _WITHIN:
        return within_alphabet_trials(*_characters(subject.images), seed=seed)
    ways = 5 if name == "episodes_5_way" else 20
    return episodes(subject.labels, _EPISODES, ways=ways, seed=seed)


def _characters(images: ImageSet) -> tuple[Labels, Labels, Labels]:
    """Return (N,) the number of each picture's alphabet, of its character, and of who drew it.

    Raises:
        InputError: the set does not say them.
    """
    alphabets = images.group_labels()
    if alphabets is None or images.form != "omniglot":
        raise InputError(
            "Trials within alphabets need each picture's alphabet and who drew it, which only the form "
            "omniglot says."
        )
    drawers = [sample.path.stem.rpartition("_")[2] for sample in images.samples]
    return alphabets, images.labels(), np.unique(drawers, return_inverse=True)[1]
