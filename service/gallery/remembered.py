"""Names by label, remembered: a row never changes under its label, so what was read once stays right."""

import threading
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TypeAlias

__all__ = ["Name", "RememberedNames"]

_MOST = 100_000  # some 25 MB

Name: TypeAlias = tuple[str, str | None]


class RememberedNames:
    """The ids and identities of the labels that were asked for last, up to a number of them. Thread-safe.

    Reading ten names takes SQLite 40 us and the interpreter changes hands for it: as long as a search.
    """

    def __init__(self, most: int = _MOST) -> None:
        """Remember nothing yet."""
        self._most = most
        self._names: dict[int, Name] = {}
        self._lock = threading.Lock()

    def known(self, labels: Iterable[int]) -> dict[int, Name]:
        """Return those of the labels that are remembered."""
        names = self._names
        return {label: name for label in labels if (name := names.get(label)) is not None}

    def learn(self, names: Mapping[int, Name]) -> None:
        """Remember names; the ones that were learnt first are forgotten for them."""
        with self._lock:
            self._names.update(names)
            if len(self._names) > self._most:  # a tenth at once: looking for the first ones takes time
                excess = len(self._names) - self._most * 9 // 10
                for label in list(islice(self._names, excess)):
                    del self._names[label]

    def forget(self, labels: Iterable[int]) -> None:
        """Forget names, for good: their rows are gone."""
        with self._lock:
            for label in labels:
                self._names.pop(label, None)
