"""Owners have turns, whatever each of them has brought."""

import random

from service.rotation import Rotation


def taken(rotation: Rotation[str, int]) -> list[tuple[str, int]]:
    return list(iter(rotation.take, None))


def test_one_of_each_owner_and_then_the_next_of_each() -> None:
    rotation: Rotation[str, int] = Rotation()
    for number in range(3):
        rotation.add("bulk", number)
    rotation.add("single", 0)
    rotation.add("pair", 0)
    rotation.add("pair", 1)
    assert (len(rotation), rotation.owners) == (6, 3)

    assert taken(rotation) == [
        ("bulk", 0), ("single", 0), ("pair", 0), ("bulk", 1), ("pair", 1), ("bulk", 2)
    ]  # fmt: skip
    assert (len(rotation), rotation.owners) == (0, 0)


def test_who_comes_later_waits_for_one_item_of_each_at_most() -> None:
    rotation: Rotation[str, int] = Rotation()
    for number in range(1000):
        rotation.add("bulk", number)
    assert rotation.take() == ("bulk", 0)
    rotation.add("single", 7)

    assert [rotation.take(), rotation.take()] == [("bulk", 1), ("single", 7)]


def test_an_owner_that_may_not_keeps_its_place() -> None:
    rotation: Rotation[str, int] = Rotation()
    for owner in ("a", "b", "a", "b"):
        rotation.add(owner, rotation.waiting(owner))

    assert rotation.take(lambda owner: owner != "a") == ("b", 0)
    assert rotation.take() == ("a", 0)
    assert rotation.take(lambda owner: owner == "c") is None
    assert len(rotation) == 2


def test_what_is_dropped_is_returned_and_gone() -> None:
    rotation: Rotation[str, int] = Rotation()
    for number in range(4):
        rotation.add("ab"[number % 2], number)

    assert rotation.drop("a") == [0, 2]
    assert rotation.drop("a") == []
    assert len(rotation) == 2
    assert rotation.drop_all() == [("b", 1), ("b", 3)]
    assert rotation.take() is None


def test_every_item_is_taken_once_in_its_owners_order() -> None:
    rng = random.Random(5)
    rotation: Rotation[str, int] = Rotation()
    given: dict[str, list[int]] = {owner: [] for owner in "abcdef"}
    found: dict[str, list[int]] = {owner: [] for owner in "abcdef"}
    for number in range(2000):
        owner = rng.choice("abcdef")
        given[owner].append(number)
        rotation.add(owner, number)
        if rng.random() < 0.4 and (one := rotation.take()):
            found[one[0]].append(one[1])
    for owner, item in taken(rotation):
        found[owner].append(item)
    assert found == given
