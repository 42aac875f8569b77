"""Preference data: types, readers, validation, recorded scores."""

from rmaudit.data.readers import load
from rmaudit.data.recorded import score_names, with_scores
from rmaudit.data.types import Dataset, DataType, Message, Prompt, SetAside, Source
from rmaudit.data.validation import Validation, validate, write_set_aside

__all__ = [
    "DataType",
    "Dataset",
    "Message",
    "Prompt",
    "SetAside",
    "Source",
    "Validation",
    "load",
    "score_names",
    "validate",
    "with_scores",
    "write_set_aside",
]
