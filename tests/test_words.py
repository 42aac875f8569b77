"""The words that a user reads are the field's terms, never home-made ones.

``python tests/test_words.py`` lists them: every title, metric, probe, cause and line of help.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from rmaudit.audits.base import audits
from rmaudit.cli import app
from rmaudit.probes.loading import load_suites, shipped_folder
from rmaudit.report.causes import CAUSES
from rmaudit.suites.base import suites

ROOT = Path(__file__).resolve().parents[1]
# Words and phrases that a practitioner has to read twice, and what stands for them.
AVOIDED = {
    r"paid by the word|pays? by the word": "length bias",
    r"say(s|ing)? nothing|saying it all twice": "filler, repetition",
    r"goes unpunished|unpunished": "is not penalised",
    r"freak": "heavy-tailed",
    r"too sure": "overconfident",
    r"ranked (right|wrong(ly)?)\b": "correctly or incorrectly ranked",
    r"hold against|held against": "compare with",
    r"\b(preferred|worse|better) outputs?\b": "chosen or rejected response",
    r"(nats|SDs?|samples|texts|pairs|tokens|words|seconds|rows|votes|numbers?|rewards?) an? "
    r"(prompt|sequence|cell|side|call|text|step|word|token|batch|row|item|response)\b": "per",
    r"\d %": "no blank before the sign",
    r"blindness|\bblind to\b": "prompt insensitivity",
    r"\b(this|each|every|another) family\b": "subset",
    r"\b[Aa] (8|11|18)(-|\b)": "an",
    r"found again\b": "reproduced",
    r"in peace|\btwin\b": "unbiased null",
    r"words that add nothing": "filler",
    r"\bseveral an? (prompt|pair|row|text)\b": "several per prompt",
}


def _metadata() -> Iterator[tuple[str, str]]:
    for audit in audits():
        yield f"{audit.name}.title", audit.title
        yield f"{audit.name}.question", audit.question
        for id_, spec in audit.metrics.items():
            yield f"{id_} name", spec.name
            yield f"{id_} definition", spec.meaning
            yield f"{id_} caution", spec.caution
    for cause in CAUSES:
        yield f"cause {cause.name}", f"{cause.name}. {cause.action}"


def _help() -> Iterator[tuple[str, str]]:
    """Every line of help of every command."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, str]]:
        yield name, command.help or ""
        for parameter in command.params:
            yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
        for sub, each in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {sub}", each)

    yield from walk("rmaudit", typer.main.get_command(app))


def _probes() -> Iterator[tuple[str, str]]:
    """What the shipped suites of probes say of themselves; not the texts that they score."""
    for suite in load_suites([shipped_folder()]):
        yield f"probe suite {suite.name}", f"{suite.file.title}. {suite.file.question}"
        for entry in suite.entries:
            yield f"probe {suite.name}/{entry.name}", entry.meaning


def _suites() -> Iterator[tuple[str, str]]:
    for suite in suites():
        yield f"benchmark {suite.name}", f"{suite.title}. {suite.question}"


def _written() -> Iterator[tuple[str, str]]:
    """What findings, reasons and messages are made of: the phrases in the code, docstrings apart.

    What an f-string fills in reads as "0".
    """
    for path in sorted((ROOT / "rmaudit").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
        alone = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                filled = [str(v.value) if isinstance(v, ast.Constant) else "0" for v in node.values]
                yield where, "".join(filled)
            elif id(node) not in parts | alone:
                text = node.value if isinstance(node, ast.Constant) else None
                if isinstance(text, str) and " " in text:
                    yield where, text


def _faults(texts: Iterator[tuple[str, str]]) -> list[str]:
    return [
        f"{where}: {match[0]!r}, say {instead}"
        for where, text in texts
        for pattern, instead in AVOIDED.items()
        for match in [re.search(pattern, text, re.IGNORECASE)]
        if match
    ]


def test_names_questions_and_definitions_use_the_fields_terms() -> None:
    assert _faults(_metadata()) == []


def test_every_line_of_help_uses_the_fields_terms() -> None:
    lines = list(_help())
    assert len(lines) > 150
    assert _faults(iter(lines)) == []
    # A line of help says something: no option without words, none that opens with its own name.
    assert [where for where, text in lines if not text.strip()] == []


def test_probes_and_benchmarks_use_the_fields_terms() -> None:
    texts = [*_probes(), *_suites()]
    assert len(texts) > 30
    assert _faults(iter(texts)) == []


def test_findings_and_messages_use_the_fields_terms() -> None:
    texts = list(_written())
    assert len(texts) > 1500
    assert _faults(iter(texts)) == []


def test_every_metric_has_a_name_that_is_no_definition() -> None:
    for audit in audits():
        for id_, spec in audit.metrics.items():
            assert spec.name, id_
            assert len(spec.name) <= 48, (id_, spec.name)
            assert spec.name[0].isupper() or spec.name[0].isdigit(), (id_, spec.name)


def test_a_caution_goes_on_where_the_definition_ends() -> None:
    for audit in audits():
        for id_, spec in audit.metrics.items():
            assert not spec.caution[:1].isupper(), (id_, spec.caution)


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_the_documents_use_the_fields_terms(document: str) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", (ROOT / document).read_text(), flags=re.DOTALL)
    assert _faults(iter([(document, text)])) == []


def test_the_list_catches_what_it_is_for() -> None:
    assert _faults(iter([("x", "Saying it all twice raises the reward by 0.44 SD a prompt, 5 %")]))


if __name__ == "__main__":
    for where, text in (*_metadata(), *_help(), *_probes(), *_suites()):
        if text:
            print(f"{where}: {' '.join(text.split())}")  # noqa: T201
