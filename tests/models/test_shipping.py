"""What ships is small and shows nobody's pictures, and the script that ships it sees to that."""

import subprocess
from pathlib import Path

import pytest

from models.bundle import read_bundle, shipped_bundles, write_bundle
from tests.models.bundles import REFERENCES, REPORTS, WEIGHTS, contents, make_spec

SCRIPT = Path(__file__).parents[2] / "scripts" / "ship_bundle.sh"
MOST_BYTES = 6_000_000


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_shipped_bundle_is_small_and_without_pictures_of_its_data(name: str) -> None:
    folder = shipped_bundles()[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    bundle = read_bundle(folder)
    assert bundle.manifest.name == name
    assert b"<img" not in bundle.reports.get("report.html", b"")


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """Return the folder of an older bundle among those that ship, in a checkout of its own."""
    write_bundle(
        tmp_path / "models" / "bundles" / "small", make_spec(description="Older."), WEIGHTS, REFERENCES
    )
    return tmp_path / "models" / "bundles" / "small"


def ship(checkout: Path, bundle: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, bundle], cwd=checkout, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_bundle_takes_the_place_of_the_older_one(tmp_path: Path, shipped: Path) -> None:
    made = tmp_path / "build" / "small"
    write_bundle(made, make_spec(), WEIGHTS, REFERENCES, reports=REPORTS)
    assert ship(tmp_path, made).returncode == 0
    assert contents(shipped) == contents(made)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (b"<img src='data:...'>", "shows pictures of the dataset"),
        (bytes(MOST_BYTES), "6,000,000 is the most"),
    ],
)
def test_what_may_not_ship_leaves_the_older_one(
    tmp_path: Path, shipped: Path, report: bytes, words: str
) -> None:
    before = contents(shipped)
    made = tmp_path / "build" / "small"
    write_bundle(made, make_spec(), WEIGHTS, REFERENCES, reports={"report.html": report})
    refused = ship(tmp_path, made)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert contents(shipped) == before


def test_what_is_no_bundle_leaves_the_older_one(tmp_path: Path, shipped: Path) -> None:
    before = contents(shipped)
    for nothing in (tmp_path / "absent" / "small", shipped):
        refused = ship(tmp_path, nothing)
        assert refused.returncode == 1
        assert "is not shipped" in refused.stderr
    assert contents(shipped) == before
