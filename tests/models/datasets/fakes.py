"""Tiny datasets in the field's forms."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from models.datasets import ImageSet, Sample

__all__ = ["as_set", "bom_crlf", "folders", "market", "picture", "products", "vehicleid", "veri"]


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (8, 6)) -> Path:
    """Write a picture of noise; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def folders(root: Path, *names: str) -> Path:
    """Write pictures of these names below a folder."""
    for seed, name in enumerate(names):
        picture(root / name, seed)
    return root


def bom_crlf(path: Path) -> None:
    """Rewrite a text as an editor on Windows would."""
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())


def lfw(root: Path, *, within: str = "lfw") -> Path:
    """Ann and Bob to train with, Cy to test with."""
    people = ("Ann_A/Ann_A_0001", "Ann_A/Ann_A_0002", "Bob/Bob_0001", "Cy_Y/Cy_Y_0001", "Cy_Y/Cy_Y_0002")
    folders(root / within, *(f"{name}.jpg" for name in people))
    (root / "peopleDevTrain.txt").write_text("2\nAnn_A\t2\nBob\t1\n")
    (root / "peopleDevTest.txt").write_text("1\nCy_Y\t2\n")
    return root


def market(root: Path) -> Path:
    """Two persons to train with, two to test with, one distractor, one junk detection."""
    return folders(
        root,
        "bounding_box_train/0002_c1s1_000451_03.jpg",
        "bounding_box_train/0002_c2s1_000301_01.jpg",
        "bounding_box_train/0007_c3s3_077419_03.jpg",
        "query/0001_c1s1_001051_00.jpg",
        "query/0003_c6s1_002301_00.jpg",
        "bounding_box_test/-1_c1s1_000401_03.jpg",
        "bounding_box_test/0000_c2s1_000351_01.jpg",
        "bounding_box_test/0001_c2s1_000301_01.jpg",
        "bounding_box_test/0003_c1s6_015971_02.jpg",
    )


def veri(root: Path) -> Path:
    """One vehicle to train with, one to test with, whose query is in the gallery too."""
    return folders(
        root,
        "image_train/0001_c001_00016450_0.jpg",
        "image_train/0001_c002_00016455_0.jpg",
        "image_query/0002_c002_00030600_0.jpg",
        "image_test/0002_c002_00030600_0.jpg",
        "image_test/0002_c003_00030670_0.jpg",
    )


def vehicleid(root: Path) -> Path:
    """Two vehicles to train with, three to test with."""
    folders(root, *(f"image/{number:07d}.jpg" for number in range(1, 8)))
    lists = root / "train_test_split"
    lists.mkdir()
    (lists / "train_list.txt").write_text("0000001 11\n0000002 11\n0000003 12\n")
    (lists / "test_list_800.txt").write_text("0000004 13\n0000005 13\n")
    (lists / "test_list_1600.txt").write_text("0000004 13\n0000005 13\n0000006 14\n0000007 14\n")
    return root


def products(root: Path) -> Path:
    """Two things to train with, one to test with."""
    folders(root, *(f"bicycle_final/11_{number}.JPG" for number in range(4)), "chair_final/12_0.JPG")
    header = "image_id class_id super_class_id path\n"
    (root / "Ebay_train.txt").write_text(
        f"{header}1 1 1 bicycle_final/11_0.JPG\n2 1 1 bicycle_final/11_1.JPG\n3 2 12 chair_final/12_0.JPG\n"
    )
    (root / "Ebay_test.txt").write_text(
        f"{header}4 11319 1 bicycle_final/11_2.JPG\n5 11319 1 bicycle_final/11_3.JPG\n"
    )
    return root


def as_set(paths: Iterable[Path]) -> ImageSet:
    """Return a set of pictures of one identity each."""
    return ImageSet("fake", "train", tuple(Sample(path, path.stem, "", "train") for path in paths))
