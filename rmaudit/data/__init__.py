"""Preference data: types, readers, validation, recorded scores."""

from rmaudit.data.mapping import ColumnMap, parse_columns
from rmaudit.data.readers import load, raw_rows
from rmaudit.data.recorded import score_names, with_scores
from rmaudit.data.types import Dataset, DataType, Message, Prompt, Reading, SetAside, Source
from rmaudit.data.validation import Validation, validate, write_set_aside

__all__ = [
    "ColumnMap",
    "DataType",
    "Dataset",
    "Message",
    "Prompt",
    "Reading",
    "SetAside",
    "Source",
    "Validation",
    "load",
    "parse_columns",
    "raw_rows",
    "score_names",
    "validate",
    "with_scores",
    "write_set_aside",
]
