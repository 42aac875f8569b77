"""The columns that a reward function reads, told from its source. Workers import this module.

What is found must be all: a score that is kept under too few columns would be handed out for rows
that it does not belong to. So every use of the mapping has to be explained; where one is not, or
the source is not at hand, the function may read any column.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

Names = tuple[tuple[str, ...], tuple[str, ...]]
"""Columns that must be there, and columns that may."""
_SEES_ALL = frozenset({"locals", "vars", "eval", "exec"})
_TEXTS = ("prompt", "response", "other")


def keywords_read(function: Any, keywords: str) -> Names | None:
    """The names that a function must, and may, find in its ``**keywords``; None: any.

    `keywords["answer"]` must be there and `keywords.get("answer")` may, as the source says; what
    stands in a ``try`` or an ``if``, or is asked for by ``in``, may. A function that hands the
    whole mapping on, or that a decorator wraps, may read anything.
    """
    source = _Source.of(function)
    return None if source is None else source.read(lambda node: _is(node, {keywords}))


def rows_read(function: Any, items: str) -> Names | None:
    """The columns that a function of items must, and may, find in ``item.row``; None: any.

    Explained are loops over the items (by ``zip`` and ``enumerate`` too), their number, and of an
    item its texts and its row, which may get a name of its own. An item that is handed on may be
    read in any way.
    """
    source = _Source.of(function)
    if source is None:
        return None
    targets: list[ast.expr] = []
    for node in source.named({items}):
        if source.is_counted(node):
            continue
        target = source.loop_target(node)
        if not isinstance(target, ast.Name):
            return None
        targets.append(target)
    each = {target.id for target in targets if isinstance(target, ast.Name)}
    fields = []
    for node in source.named(each):
        parent = source.parent(node)
        if isinstance(parent, ast.Attribute) and parent.attr in (*_TEXTS, "row"):
            fields.append(parent)
        elif not any(node is target for target in targets):
            return None
    rows = [field for field in fields if field.attr == "row"]
    called = {id(name): name.id for field in rows if (name := source.new_name(field))}
    aliases = set(called.values())
    given = [id(source.parent(field)) for field in rows if source.new_name(field)]
    return source.read(
        lambda node: any(node is row for row in rows) or _is(node, aliases), frozenset(given)
    )


class _Source:
    """The syntax of a function, with the parent of each node."""

    def __init__(self, tree: ast.AST) -> None:
        self._nodes = list(ast.walk(tree))
        self._parents = {
            id(child): node for node in self._nodes for child in ast.iter_child_nodes(node)
        }

    @classmethod
    def of(cls, function: Any) -> _Source | None:
        """That of a function; None if it is not at hand or not all there is to see."""
        if hasattr(function, "__wrapped__"):  # the wrapper sees the columns first
            return None
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        except (OSError, TypeError, SyntaxError):
            return None
        source = cls(tree)
        return None if source.named(set(_SEES_ALL)) else source

    def named(self, names: set[str]) -> list[ast.Name]:
        """Every mention of some names."""
        return [node for node in self._nodes if isinstance(node, ast.Name) and node.id in names]

    def parent(self, node: ast.AST) -> ast.AST | None:
        """What a node is part of."""
        return self._parents.get(id(node))

    def is_counted(self, node: ast.AST) -> bool:
        """Whether all that is done with a node is to take its length."""
        return _calls(self.parent(node), "len")

    def loop_target(self, node: ast.expr) -> ast.expr | None:
        """The name that a loop over a node gives to each of its elements."""
        around = self.parent(node)
        if isinstance(around, ast.For | ast.comprehension) and around.iter is node:
            return around.target
        if not isinstance(around, ast.Call) or node not in around.args:
            return None
        loop = self.parent(around)
        if not isinstance(loop, ast.For | ast.comprehension) or loop.iter is not around:
            return None
        place = around.args.index(node) + (1 if _calls(around, "enumerate") else 0)
        targets = loop.target.elts if isinstance(loop.target, ast.Tuple) else []
        known = _calls(around, "enumerate") or _calls(around, "zip")
        plain = not any(isinstance(each, ast.Starred) for each in (*around.args, *targets))
        return targets[place] if known and plain and place < len(targets) else None

    def new_name(self, node: ast.expr) -> ast.Name | None:
        """The one name that a node is assigned to, if that is what is done with it."""
        around = self.parent(node)
        if isinstance(around, ast.Assign) and len(around.targets) == 1 and around.value is node:
            target = around.targets[0]
            return target if isinstance(target, ast.Name) else None
        return None

    def read(
        self, is_mapping: Callable[[ast.AST], bool], given: frozenset[int] = frozenset()
    ) -> Names | None:
        """The keys that are taken out of a mapping; None if it is used in any other way.

        `given` are the assignments that give it a name.
        """
        must: list[str] = []
        may: list[str] = []
        for node in self._nodes:
            if not is_mapping(node) or id(self.parent(node)) in given:
                continue
            found = self._key(node)
            if found is None:
                return None
            key, needed = found
            (must if needed else may).append(key)
        asked = {key for key in may if key not in must}
        return tuple(dict.fromkeys(must)), tuple(dict.fromkeys(k for k in may if k in asked))

    def _key(self, node: ast.AST) -> tuple[str, bool] | None:
        """The key that a mapping is asked for here, and whether it has to be there."""
        around = self.parent(node)
        key: ast.expr | None = None
        needed = False
        if isinstance(around, ast.Subscript) and around.value is node:
            key, needed = around.slice, not self._is_conditional(around)
        elif isinstance(around, ast.Attribute) and around.attr in ("get", "pop"):
            call = self.parent(around)
            if isinstance(call, ast.Call) and call.func is around and call.args:
                key = call.args[0]
                needed = around.attr == "pop" and len(call.args) == 1
                needed = needed and not self._is_conditional(around)
        elif isinstance(around, ast.Compare) and around.comparators == [node]:
            key = around.left if isinstance(around.ops[0], ast.In | ast.NotIn) else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return key.value, needed
        return None

    def _is_conditional(self, node: ast.AST) -> bool:
        """Whether a node may never be reached."""
        around: ast.AST | None = node
        while around is not None:
            if isinstance(around, ast.Try | ast.If | ast.IfExp | ast.BoolOp):
                return True
            around = self.parent(around)
        return False


def _is(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _calls(node: ast.AST | None, name: str) -> bool:
    return isinstance(node, ast.Call) and _is(node.func, {name})
