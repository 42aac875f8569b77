"""What is worked out once for an object, and forgotten with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

Subject = TypeVar("Subject")
Options = ParamSpec("Options")
Result = TypeVar("Result")


def memoize(
    function: Callable[Concatenate[Subject, Options], Result],
) -> Callable[Concatenate[Subject, Options], Result]:
    """Keep the results of a function of a case or a data set, by identity: neither has a hash.

    Further arguments must have one.
    """
    memory: dict[int, dict[Hashable, Result]] = {}

    @wraps(function)
    def once(subject: Subject, /, *args: Options.args, **options: Options.kwargs) -> Result:
        if id(subject) not in memory:
            weakref.finalize(subject, memory.pop, id(subject), None)
        results = memory.setdefault(id(subject), {})
        key = (args, tuple(sorted(options.items())))
        if key not in results:
            results[key] = function(subject, *args, **options)
        return results[key]

    return once
