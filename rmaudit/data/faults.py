"""Why a row cannot be used: raised by the checks, collected as `SetAside`."""

from __future__ import annotations

DETAIL_LIMIT = 200


class Fault(Exception):  # noqa: N818 - of a row, not of the program
    """One row that cannot be used. `reason` has the same words for the same fault."""

    def __init__(self, column: str | None, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason
        # Details quote what was found, which may be hostile: kept short, and printable anywhere.
        self.detail = detail[:DETAIL_LIMIT].encode("utf-8", "backslashreplace").decode()


class Damage(Exception):  # noqa: N818 - to a file
    """The rest of a file cannot be read, from this row on; what came before it can."""

    def __init__(self, what: str, row: int = 0) -> None:
        super().__init__(what)
        self.row = row


def wrong_type(column: str, wanted: str, value: object) -> Fault:
    """A value of another kind than its column holds."""
    names = {"NoneType": "null", "str": "text", "dict": "an object", "list": "a list"}
    kind = names.get(type(value).__name__, type(value).__name__)
    return Fault(column, "wrong type", f"{kind} instead of {wanted}")
