"""Names sort as people read them, and always in one order."""

from __future__ import annotations

import random

from rmaudit.order import natural


def test_numbers_in_names_count() -> None:
    names = ["S1", "S2", "S10", "S11", "T1", "a2b9", "a2b10", "a10b1"]
    shuffled = random.Random(0).sample(names, len(names))
    assert sorted(shuffled, key=natural) == names


def test_names_without_numbers_sort_as_texts() -> None:
    names = ["B", "a", "ä", "", "a b", "Chat/Z", "Chat/A", "名"]
    assert sorted(names, key=natural) == sorted(names)


def test_no_two_names_have_one_place() -> None:
    names = ["a1", "a01", "a001", "٣", "3", "3" * 5000]
    orders = {tuple(sorted(random.Random(i).sample(names, 6), key=natural)) for i in range(50)}
    assert len(orders) == 1
