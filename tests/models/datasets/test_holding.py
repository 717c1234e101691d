"""What is measured on is no identity that was learned from."""

from pathlib import Path

import pytest

from models.datasets import HELD_OUT, ImageSet, Sample, hold_out, read_dataset
from models.errors import DatasetError, OptionError
from tests.models.pictures import encoded, smooth


def images(identities: int = 20, each: int = 3) -> ImageSet:
    samples = [
        Sample(Path(f"{number}_{n}.jpg"), f"p{number}", "", "train", group=f"g{number % 4}")
        for n in range(each)
        for number in range(identities)
    ]
    return ImageSet("mine", "train", (*samples, Sample(Path("x.jpg"), "-1", "", "train", group="g1")), "csv")


def test_a_share_of_the_identities_is_held_out_whole() -> None:
    rest, out = hold_out(images(), 0.25, seed=1)

    assert (len(rest.identities), len(out.identities)) == (15, 5)
    assert not set(rest.identities) & set(out.identities)
    assert (len(rest), len(out)) == (46, 15)
    assert (rest.split, out.split) == ("train", HELD_OUT)
    assert {sample.split for sample in out.samples} == {HELD_OUT}


def test_the_seed_decides_who() -> None:
    drawn = [hold_out(images(), 0.25, seed=seed)[1].identities for seed in (1, 1, 2)]

    assert drawn[0] == drawn[1] != drawn[2]


def test_groups_are_held_out_by_name_and_nobody_stays() -> None:
    rest, out = hold_out(images(), ("g1", "g3"))

    assert {sample.group for sample in out.samples} == {"g1", "g3"}
    assert {sample.group for sample in rest.samples if sample.identity != "-1"} == {"g0", "g2"}
    assert "-1" in {sample.identity for sample in rest.samples}


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(OptionError, match="above 0 and below 1"):
        hold_out(images(), share)


def test_an_unknown_group_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(OptionError, match=r"no group Klingon in mine/train: it has g0, g1, g2"):
        hold_out(images(), ("g1", "Klingon"))


@pytest.mark.parametrize("what", [0.05, 0.95, ("g0", "g1", "g2", "g3")])
def test_two_identities_are_needed_on_each_side(what: float | tuple[str, ...]) -> None:
    with pytest.raises(DatasetError, match="At least 2 are needed on each side"):
        hold_out(images(), what)


def test_pictures_that_nobody_parted_are_the_split_all(tmp_path: Path) -> None:
    for person in ("anna", "ben"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "1.jpg").write_bytes(encoded(smooth(8, 8), "JPEG"))

    assert read_dataset(tmp_path, "all").identities == ("anna", "ben")
    with pytest.raises(DatasetError, match=r"are the split 'all': train with --train-split all"):
        read_dataset(tmp_path, "train")
