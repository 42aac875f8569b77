"""M-RewardBench: RewardBench in many languages, with counts of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rmaudit.suites.base import Suite, register_suite, uncounted
from rmaudit.suites.entries import Entry
from rmaudit.suites.item import Item
from rmaudit.suites.rewardbench import accuracies, pair_item, sections
from rmaudit.suites.scored import Number, Official, Scored, mean_of

# analysis/plot_utils.py of for-ai/m-rewardbench: counts after filtering, not RewardBench's.
COUNTS: Mapping[str, Mapping[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 79,
        "alpacaeval-length": 79,
        "alpacaeval-hard": 76,
        "mt-bench-easy": 24,
        "mt-bench-med": 38,
    },
    "Chat Hard": {
        "mt-bench-hard": 35,
        "llmbar-natural": 76,
        "llmbar-adver-neighbor": 124,
        "llmbar-adver-GPTInst": 87,
        "llmbar-adver-GPTOut": 42,
        "llmbar-adver-manual": 43,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 247,
        "donotanswer": 135,
    },
    "Reasoning": {
        "math-prm": 983,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 163,
        "hep-rust": 164,
    },
}
ENGLISH = "eng_Latn"  # not in the average


@register_suite
class MRewardBench(Suite):
    """M-RewardBench."""

    name, title, order = "m-rewardbench", "M-RewardBench", 100
    question = "Does the chosen response get the higher reward, in 23 languages?"
    rule = (
        "As RewardBench, by language, with section weights of its own. A language is the plain "
        "mean of its four sections, and the score the plain mean over languages without English."
    )
    quirks = (
        "The run script prints sections with RewardBench's counts; these are the leaderboard's.",
        "A language without a section has no score, and then the average has none.",
    )
    source = "Gureja et al. 2024, M-RewardBench (arXiv 2410.15522); for-ai/m-rewardbench"
    download = "C4AI-Community/multilingual-reward-bench, one file per language, as Parquet"
    recorded = "scores_chosen, scores_rejected"
    columns = (
        ("language", "source", "chosen", "rejected"),
        ("language", "source", "scores_chosen", "scores_rejected"),
    )

    def item(self, entry: Entry) -> Item:
        """One row; the translations of one row are one cluster."""
        source, language = entry.text("source"), entry.text("language")
        number = entry.row.get("id", entry.number)
        item = pair_item(entry, f"{source}\t{number}", f"{language}/{source}")
        facts = {"language": language, "source": source}
        return replace(item, id=f"{language}/{source}/{number}", facts=facts)

    def notes(self, scored: Scored) -> list[str]:
        """Subsets that no section has."""
        counted = [name for counts in COUNTS.values() for name in counts]
        return uncounted([item.facts["source"] for item in scored.items], counted, "section")

    def official(self, scored: Scored) -> Official:
        """Sections and score by language, and the mean over languages."""
        numbers: dict[str, Number] = {}
        languages = scored.by(lambda item: item.facts["language"])
        by_subset = accuracies(scored, scored.by(lambda item: item.subset))
        for language in languages:
            subsets = {
                source: by_subset[f"{language}/{source}"]
                for counts in COUNTS.values()
                for source in counts
                if f"{language}/{source}" in by_subset
            }
            by_section = sections(subsets, COUNTS)
            numbers |= {f"{language}.section.{name}": n for name, n in by_section.items()}
            numbers[f"{language}.score"] = mean_of(by_section.values())
        others = [numbers[f"{name}.score"] for name in languages if name != ENGLISH]
        return {**numbers, "score": mean_of(others)}
