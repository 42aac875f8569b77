"""The model card: what it says, and that the hub's own classes read it."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from report_samples import HOSTILE, sample_report
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import DataError, UsageError
from rmaudit.export.card import (
    END,
    START,
    card_text,
    model_card,
    section,
    updated_card,
    write_card,
)

README = """---
license: apache-2.0
language: en
base_model: org/base
model-index:
- name: My model
  results:
  - task: {type: text-classification}
    dataset: {type: org/bench, name: Bench}
    metrics:
    - {type: accuracy, value: 0.9}
  - task: {type: text-classification}
    dataset: {type: preferences, name: old.jsonl}
    metrics:
    - {type: preference.accuracy, value: 0.1}
    source: {name: rmaudit 0.0.1, url: https://example.org}
---

# My model

What I wrote.
"""


def test_the_hub_reads_back_every_number():
    report = sample_report()
    card = ModelCard(str(model_card(report)))
    got = {result.metric_type: result for result in card.data.eval_results}
    assert "preference.accuracy" in got
    for id_, result in got.items():
        estimate = report[id_]
        assert result.metric_value == estimate.value
        assert (result.metric_args["low"], result.metric_args["high"]) == pytest.approx(estimate.ci)
        assert result.metric_args["prompts"] == estimate.n_clusters
        assert result.dataset_args == {"sha256": "ab" * 32}
        assert isinstance(result, EvalResult)
    # The hub's validator reads the model index as it stands in the file.
    index = yaml.safe_load(card.content.split("---")[1])["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == report.record.model.name
    assert results == card.data.eval_results
    assert "reward-model" in card.data.tags


def test_the_section_says_the_answer_the_numbers_and_what_was_not_measured():
    report = sample_report()
    text = section(report)
    assert text.startswith(START)
    assert text.endswith(f"{END}\n")
    assert "Can it be optimised against?" in text
    assert "`length.excess_preference`" in text
    assert "Not measured: " in text
    assert "sha256" in text
    for finding in report.findings:
        assert finding.severity in ("low", "info") or f"- {finding.severity}: " in text


def test_hostile_names_start_no_markup_and_break_no_table():
    report = sample_report()
    metrics = [line for line in section(report).splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in metrics} == {6}
    text = section(report)
    assert "<script" not in text
    assert "<i>" not in text
    assert "\u202e" not in text
    assert HOSTILE not in text
    file = card_text(model_card(report))
    assert "\u202e" not in file
    assert ModelCard(file).data.model_name == report.record.model.name


def test_no_folder_of_the_machine_is_told():
    assert "data/" not in str(model_card(sample_report()))


def test_an_existing_card_keeps_what_is_not_ours():
    report = sample_report()
    card = updated_card(README, report)
    data = card.data.to_dict()
    assert (data["license"], data["language"], data["base_model"]) == (
        "apache-2.0",
        "en",
        "org/base",
    )
    assert card.data.model_name == "My model"
    values = {(r.dataset_name, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert values[("Bench", "accuracy")] == 0.9
    assert ("old.jsonl", "preference.accuracy") not in values
    assert "What I wrote." in card.text
    assert card.text.index("What I wrote.") < card.text.index(START)

    again = updated_card(str(card).replace("## Audit", "## An old audit"), report)
    assert str(again) == str(card)
    moved = updated_card(str(card) + "\nBelow.\n", report)
    assert moved.text.index(END) < moved.text.index("Below.")


def test_a_card_without_metadata_gets_some():
    card = updated_card("# Mine\n", sample_report())
    assert isinstance(card.data, ModelCardData)
    assert card.data.model_name == sample_report().record.model.name
    assert card.text.strip().startswith("# Mine")


@pytest.mark.parametrize("text", ["---\na: [\n---\n# x\n", f"# x\n{START}\nno end\n"])
def test_a_card_that_cannot_be_read_is_left_alone(text, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(DataError, match=r"repair|remove"):
        write_card(path, sample_report())
    assert path.read_text() == text


def test_only_markdown_is_written(tmp_path):
    with pytest.raises(UsageError, match=r"README\.md"):
        write_card(tmp_path / "report.json", sample_report())


def test_the_command_prints_a_card_or_writes_one(tmp_path):
    (tmp_path / "report.json").write_text(sample_report().to_json())
    printed = CliRunner().invoke(app, ["card", str(tmp_path)])
    assert printed.exit_code == 0, printed.stderr
    assert ModelCard(printed.stdout).data.eval_results
    readme = tmp_path / "README.md"
    written = CliRunner().invoke(app, ["card", str(tmp_path), "--out", str(readme)])
    assert written.exit_code == 0, written.stderr
    assert readme.read_text() == printed.stdout
    missing = CliRunner().invoke(app, ["card", str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "rmaudit audit --out DIR" in missing.stderr
