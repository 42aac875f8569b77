"""Class labels: integers of which the data set's features know the names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Names = Mapping[str, Sequence[str]]


def feature_names(features: Any) -> dict[str, list[str]]:
    """Names by column, of `datasets` features or of their JSON."""
    found = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        names = (
            feature.get("names") if isinstance(feature, dict) else getattr(feature, "names", None)
        )
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            found[str(column)] = list(names)
    return found


def schema_names(schema: Any) -> dict[str, list[str]]:
    """Names by column, from what `datasets` writes into a table's schema."""
    written = (schema.metadata or {}).get(b"huggingface")
    if written is None:
        return {}
    try:
        return feature_names(json.loads(written)["info"]["features"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def with_names(table: Any, names: Names) -> Any:
    """The table with the names of its class labels in place of their integers; -1 is none."""
    import pyarrow as pa

    for column, known in names.items():
        place = table.schema.get_field_index(column)
        if place < 0 or not pa.types.is_integer(table.schema.field(place).type):
            continue
        codes = table.column(place).to_pylist()
        values = [known[c] if c is not None and 0 <= c < len(known) else None for c in codes]
        table = table.set_column(place, column, pa.array(values, pa.string()))
    return table
