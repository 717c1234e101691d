"""What has been measured so far, a file of JSON each, so that what is interrupted goes on."""

import json
from pathlib import Path
from typing import Any

__all__ = ["Record", "Records"]

Record = dict[str, Any]


class Records:
    """The results in a folder, by name. Those of another plan are as if they were not there.

    Args:
        folder: made with the first result.
        plan: facts that a result holds for, as JSON gives them back.
    """

    def __init__(self, folder: Path, plan: Record) -> None:
        self.folder = folder
        self._plan: Record = json.loads(json.dumps(plan))

    def get(self, name: str) -> Record | None:
        """Return a result, None where it has not been measured under this plan."""
        path = self._path(name)
        if not path.is_file():
            return None
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        return record["found"] if record["plan"] == self._plan else None

    def put(self, name: str, found: Record) -> None:
        """Keep a result; the file is replaced as a whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self._path(name).with_suffix(".partial")
        partial.write_text(json.dumps({"plan": self._plan, "found": found}), encoding="utf-8")
        partial.replace(self._path(name))

    def forget(self) -> None:
        """Remove every result, of other plans too."""
        for path in self.folder.glob("*.json"):
            path.unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
