"""Small drawn sets for the tests of the learning benchmark."""

from pathlib import Path

from benchmarks.learning.arms import Plan
from benchmarks.learning.running import Sets
from models.datasets import read_dataset
from models.drawing import draw_vehicle

__all__ = ["PLAN", "drawn_sets"]

PLAN = Plan(
    "small_resnet",
    height=32,
    width=32,
    identities=3,
    images=2,
    steps=6,
    seeds=(0, 1),
)


def drawn_sets(folder: Path) -> Sets:
    """Draw vehicles seen by two cameras, four to learn from and three to measure on."""
    lines = ["path,identity,camera,split"]
    for identity in range(7):
        for view in range(4):
            name = f"{identity}_{view}.png"
            draw_vehicle(identity, view).save(folder / name)
            lines.append(f"{name},{identity},{view % 2},{'train' if identity < 4 else 'val'}")
    (folder / "images.csv").write_text("\n".join(lines), encoding="utf-8")
    return Sets(read_dataset(folder, "train"), read_dataset(folder, "val"))
