"""The one check of a row: which type it is of, whether it can be used, and its normal form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from rmaudit.data.faults import Fault, wrong_type
from rmaudit.data.messages import context, decoded, extract_prompt, output, prompt
from rmaudit.data.types import DataType
from rmaudit.data.values import boolean, is_null, label, number, ranking

Row = dict[str, Any]
SLICES = ("subset", "family", "style")
NO_SLICE = "(none)"  # a row that belongs to no subset, in data that have subsets
_REWARDS = ("rewards", "proxy_rewards", "gold_rewards")
_LISTS = (*_REWARDS, "judge_rewards")
SHARED = ("id", "group", *SLICES, "annotator_votes", "annotators")
GROUP = "annotator_"  # of columns that say who voted, a list as long as the votes
COLUMNS: Mapping[DataType, tuple[str, ...]] = {
    "preference": (
        *("prompt", "chosen", "rejected", "prompt_rejected", "tie"),
        *("chosen_reward", "rejected_reward"),
    ),
    "ranking": ("prompt", "outputs", "ranking", *_REWARDS),
    "rating": ("prompt", "output", "rating", *_REWARDS),
    "unpaired": ("prompt", "output", "label", *_REWARDS),
    "deployment": ("prompt", "outputs", *_LISTS),
    "samples": ("prompt", "outputs", *_LISTS),
}
"""What each type reads beside the shared columns; the rest is metadata."""

ONE_OUTPUT = ("rating", "unpaired", "deployment", "samples")  # types that may have `output`


def infer_type(record: Mapping[str, Any]) -> DataType | None:
    """The type of the table that a row comes from, by its columns; None if none fits."""

    def has(*names: str) -> bool:
        return all(name in record for name in names)

    recorded = _recorded(record)
    one = has("output") or has("completion")
    if has("chosen", "rejected") or recorded == "pairs":
        return "preference"
    if has("ranking") and (has("outputs") or has("rewards") or recorded == "lists"):
        return "ranking"
    if one and (has("rating") or has("label")):
        return "rating" if has("rating") else "unpaired"
    if not has("prompt"):
        # A conversation that ends with the response holds its own prompt.
        return "deployment" if isinstance(record.get("output"), list) else None
    if any(name in record for name in _LISTS) or (recorded == "lists" and not one):
        return "samples"
    return "deployment"


def _recorded(record: Mapping[str, Any]) -> str:
    """What rewards without texts a row has: for pairs, lists of them, or none ("")."""
    scores = record.get("scores")
    values = list(scores.values()) if isinstance(scores, dict) else []
    if "chosen_reward" in record and "rejected_reward" in record:
        return "pairs"
    if values and all(isinstance(v, dict) and {"chosen", "rejected"} <= v.keys() for v in values):
        return "pairs"
    return "lists" if values and all(isinstance(v, list) for v in values) else ""


def check(record: object, kind: DataType) -> Row:
    """A row in its normal form (see `Dataset`), metadata included.

    Raises
    ------
    Fault
        If the row cannot be used.
    """
    if not isinstance(record, dict):
        raise Fault(None, "not an object", f"found {type(record).__name__}")
    for column, value in record.items():
        try:
            broken = _is_broken(value) or _is_broken(column)
        except RecursionError as error:
            raise Fault(column, "nested too deeply") from error
        if broken:
            raise Fault(column, "text is not valid Unicode", "lone surrogate or wrong bytes")
    row = _TYPES[kind](record)
    _shared(record, row)
    known = {*COLUMNS[kind], *SHARED}
    used = {"completion"} if "output" not in record and kind in ONE_OUTPUT else set()
    for column, value in record.items():
        if column not in row and column not in known and column not in used:
            # The table's own column `row` is the number of the row in its source.
            row.setdefault("row_given" if column == "row" else column, value)
    return row


def _is_broken(value: object) -> bool:
    if isinstance(value, str):
        if value.isascii():
            return False
        try:
            value.encode()
        except UnicodeEncodeError:
            return True
        return False
    if isinstance(value, list):
        return any(map(_is_broken, value))
    if isinstance(value, dict):
        return any(map(_is_broken, value)) or any(map(_is_broken, value.values()))
    return False


def _preference(record: Row) -> Row:
    rewards: Row = {}
    for side in ("chosen", "rejected"):
        name = f"{side}_reward"
        if isinstance(value := record.get(name), dict):
            rewards[f"{side}_components"] = value
            value = value.get("total", math.nan)
        if name in record:
            rewards[name] = number(value, name)
    tie = record.get("tie")
    row: Row = {"tie": False if is_null(tie) else boolean(tie, "tie"), **rewards}
    if "chosen" not in record and "rejected" not in record and _recorded(record) == "pairs":
        return {**row, "prompt": prompt(_required(record, "prompt")), "chosen": "", "rejected": ""}
    before, chosen = output(_required(record, "chosen"), "chosen")
    before_rejected, rejected = output(_required(record, "rejected"), "rejected")
    if "prompt" not in record and isinstance(record["chosen"], str):
        if not isinstance(record["rejected"], str):
            raise wrong_type("rejected", "text, as chosen is", record["rejected"])
        given, chosen, rejected = extract_prompt(chosen, rejected)
        row["tie"] = row["tie"] or chosen == rejected  # equal texts prefer nothing
        return {**row, "prompt": given, "chosen": chosen, "rejected": rejected}
    given_prompt = prompt(record.get("prompt"))
    own = record.get("prompt_rejected")
    other = given_prompt if is_null(own) else prompt(own, "prompt_rejected")
    row |= {"prompt": context(given_prompt, before), "chosen": chosen, "rejected": rejected}
    other = context(other, before_rejected)
    if other != row["prompt"]:
        row["prompt_rejected"] = other
    return row


def _one_output(record: Row) -> Row:
    name = "output" if "output" in record else "completion"
    before, text = output(_required(record, name, "output"), name)
    if not before:
        _required(record, "prompt")
    return {"prompt": context(prompt(record.get("prompt")), before), "output": text}


def _rating(record: Row) -> Row:
    row = _one_output(record)
    row["rating"] = number(_required(record, "rating"), "rating")
    if not math.isfinite(row["rating"]):
        raise Fault("rating", "not a finite number")
    return {**row, **_rewards(record, 1)}


def _unpaired(record: Row) -> Row:
    row = _one_output(record)
    return {**row, "label": boolean(_required(record, "label"), "label"), **_rewards(record, 1)}


def _ranking(record: Row) -> Row:
    ranks = ranking(_list(_required(record, "ranking"), "ranking"))
    row = _outputs(record, len(ranks))
    if len(ranks) != len(row["outputs"]):
        detail = f"{len(ranks)} ranks for {len(row['outputs'])} outputs"
        raise Fault("ranking", "wrong length", detail)
    return {**row, "ranking": ranks}


def _deployment(record: Row) -> Row:
    if "output" in record or "completion" in record:
        row = _one_output(record)
        return {"prompt": row["prompt"], "outputs": [row["output"]], **_rewards(record, 1)}
    if is_null(record.get("outputs")):
        return {"prompt": prompt(_required(record, "prompt"))}
    return _outputs(record, None)


def _samples(record: Row) -> Row:
    if "output" in record or "completion" in record:
        return _deployment(record)
    given = [name for name in _LISTS if not is_null(record.get(name))]
    scores = record.get("scores") if _recorded(record) == "lists" else None
    sizes = [len(_list(record[name], name)) for name in given]
    sizes += [len(values) for values in scores.values()] if isinstance(scores, dict) else []
    return _outputs(record, sizes[0] if sizes else None)


def _outputs(record: Row, recorded: int | None) -> Row:
    """Prompt, outputs and rewards; `recorded` is how many rewards a row without texts has."""
    if is_null(record.get("outputs")):
        if recorded is None or not (_recorded(record) == "lists" or _given(record)):
            raise Fault("outputs", "missing column", "there are neither outputs nor rewards")
        if not recorded:
            raise Fault("outputs", "no outputs")
        return {
            "prompt": prompt(_required(record, "prompt")),
            "outputs": [""] * recorded,  # rewards without texts
            **_rewards(record, recorded),
        }
    parts = [output(value, "outputs") for value in _list(record["outputs"], "outputs")]
    if not parts:
        raise Fault("outputs", "no outputs")
    before = parts[0][0]
    if any(other != before for other, _ in parts):
        raise Fault("outputs", "outputs answer different contexts")
    if not before:
        _required(record, "prompt")
    given = context(prompt(record.get("prompt")), before)
    return {"prompt": given, "outputs": [t for _, t in parts], **_rewards(record, len(parts))}


def _given(record: Row) -> bool:
    return any(isinstance(record.get(name), list) for name in _LISTS)


def _rewards(record: Row, size: int) -> Row:
    """The lists of rewards that a row has, one value per output."""
    row: Row = {}
    for name in _LISTS:
        value = record.get(name)
        if is_null(value):
            continue
        values = [value] if size == 1 and not isinstance(value, list) else _list(value, name)
        if len(values) != size:
            raise Fault(name, "wrong length", f"{len(values)} rewards for {size} outputs")
        if any(isinstance(each, dict) for each in values):
            row["components"] = values
            values = [e.get("total", math.nan) if isinstance(e, dict) else e for e in values]
        row[name] = [number(each, name) for each in values]
    return row


def _shared(record: Row, row: Row) -> None:
    """Columns that any type may have; a row without them gets its place when others have them."""
    for name in ("id", "group", *SLICES):
        value = record.get(name)
        if not is_null(value):
            row[name] = label(value, name)
    votes, names = record.get("annotator_votes"), record.get("annotators")
    if isinstance(votes, dict):  # several questions asked of each annotator: no single vote
        row["votes_by_question"] = votes
    elif not is_null(votes):
        row["annotator_votes"] = _list(votes, "annotator_votes")
    if not is_null(names):
        row["annotators"] = [label(each, "annotators") for each in _list(names, "annotators")]
    sizes = len(row.get("annotator_votes", ())), len(row.get("annotators", ()))
    if all(sizes) and sizes[0] != sizes[1]:
        raise Fault("annotators", "wrong length", f"{sizes[1]} names for {sizes[0]} votes")


def _required(record: Row, name: str, shown: str = "") -> Any:
    if name not in record:
        raise Fault(shown or name, "missing column")
    return record[name]


def _list(value: Any, column: str) -> list[Any]:
    if isinstance(value, str):
        value = decoded(value)
    if not isinstance(value, list):
        raise wrong_type(column, "a list", value)
    return value


_TYPES: Mapping[DataType, Callable[[Row], Row]] = {
    "preference": _preference,
    "ranking": _ranking,
    "rating": _rating,
    "unpaired": _unpaired,
    "deployment": _deployment,
    "samples": _samples,
}
