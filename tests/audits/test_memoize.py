"""What is worked out once for an object."""

from __future__ import annotations

import gc

from rmaudit.audits.common.memoize import memoize


class Subject:
    """Like a case: no hash that would tell two of them apart by what they hold."""

    __hash__ = None  # type: ignore[assignment]


def test_once_for_each_object_and_argument_and_forgotten_with_the_object() -> None:
    calls: list[tuple[int, str]] = []

    @memoize
    def worked_out(subject: Subject, name: str = "a") -> str:
        calls.append((id(subject), name))
        return name * 2

    one, other = Subject(), Subject()
    assert [worked_out(one), worked_out(one), worked_out(one, "b"), worked_out(other)] == [
        *("aa", "aa", "bb", "aa")
    ]
    assert [name for _, name in calls] == ["a", "b", "a"]
    place = id(one)
    del one
    gc.collect()
    again = [Subject() for _ in range(100)]  # one of them may lie where the first one lay
    assert [worked_out(each) for each in again] == ["aa"] * 100
    assert len(calls) == 103
    assert all(name == "a" for where, name in calls[3:] if where == place)
