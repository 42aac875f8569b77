"""The process that a reward function runs in; its arguments are two file descriptors.

It reads pickled requests from one pipe and writes answers, one JSON line each, to another. What the
function prints goes to this process's own output, never among the answers.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle  # nosec B403: from its own parent
import struct
import sys
from collections.abc import Callable
from typing import IO, Any

from rmaudit.errors import RmauditError, UsageError
from rmaudit.rewards.functions.items import AnswerError, Item, ItemRow, MissingColumnError
from rmaudit.rewards.functions.opening import find, look_at

SIZE = struct.Struct("<Q")
Message = dict[str, Any]


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Open the function that the first request names, then answer until the pipe ends."""
    own = os.getpid()
    call: Callable[[Message], Message] | None = None
    while head := requests.read(SIZE.size):
        # From the parent, which alone holds the other end.
        request = pickle.loads(requests.read(SIZE.unpack(head)[0]))  # nosec B301
        if call is None:
            answer, call = _opened(request)
        else:
            answer = call(request)
        if os.getpid() != own:  # the function forked: the copy has nothing to say
            os._exit(0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _opened(request: Message) -> tuple[Message, Callable[[Message], Message] | None]:
    spec = request["spec"]
    # The folder stays there: a function may import a module beside it when it is called.
    sys.path[:] = [request["folder"], *request["path"]]
    os.chdir(request["folder"])
    try:
        function, module = find(spec)
        signature, facts = look_at(function, request["name"], module)
    except RmauditError as error:
        kind = "usage" if isinstance(error, UsageError) else "model"
        return {"error": kind, "said": str(error)}, None

    def call(request: Message) -> Message:
        items = [
            Item(prompt, response, ItemRow(row), other)
            for prompt, response, row, other in request["items"]
        ]
        try:
            return dataclasses.asdict(signature.call(function, items))
        except Exception as error:
            return failure(error)

    return {"facts": dataclasses.asdict(facts)}, call


def failure(error: Exception) -> Message:
    """An exception as an answer."""
    if isinstance(error, AnswerError):
        return {"error": "answer", "said": str(error)}
    if isinstance(error, MissingColumnError):
        return {"error": "column", "said": str(error)}
    return {"error": "raised", "said": f"raised {type(error).__name__}: {error}"}


def main() -> None:
    """Serve on the two file descriptors that the command line names."""
    with (
        os.fdopen(int(sys.argv[1]), "rb") as requests,
        os.fdopen(int(sys.argv[2]), "wb") as answers,
    ):
        serve(requests, answers)


if __name__ == "__main__":
    main()
