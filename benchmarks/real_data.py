"""Coverage, generalization, disagreement, annotators on real data: the numbers of docs.

    python benchmarks/real_data.py DATA MODEL [--store FILE] [--only annotators,coverage]

DATA is the folder of preference data in the repository's format (see docs/data.md), MODEL a reward
model trained on its HH-RLHF part. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import rmaudit as rma
from rmaudit.results import Estimate

SAMPLE = 200  # pairs of a set that are scored
WORD_PAIRS = 40  # a wording


def main() -> None:
    """Print the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--only", default="annotators,coverage,disagreement")
    given = parser.parse_args()
    parts = {"annotators": annotators, "coverage": coverage, "disagreement": disagreement}
    for name in given.only.split(","):
        parts[name](given.data, given.model, given.store)


def annotators(data: Path, model: str, store: Path | None) -> None:
    """Three annotators, 69 to 123 raters, and raters with demographics."""
    zero = no_reward()
    sets: dict[str, tuple[Any, Any]] = {
        "PandaLM, 3 annotators": (data / "pandalm/pairs_3annotators.jsonl.gz", model),
        "DICES 350, 123 raters": (data / "dices/dices_350.jsonl.gz", zero),
        "DICES 990, 69 to 76 raters": (data / "dices/dices_990.jsonl.gz", zero),
        "POPQUORN ratings, 6 to 10 raters": (data / "popquorn/offensiveness.jsonl.gz", zero),
        "POPQUORN, the less offensive of two": (pairs_of_ratings(data), model),
    }
    reports = {
        name: rma.audit(reward, eval_, only=["annotators"], store=store)
        for name, (eval_, reward) in sets.items()
    }
    show(reports, ["alpha", "noise_ceiling"], "annotators")
    paired = {name: reports[name] for name in reports if sets[name][1] is model}
    show(
        paired,
        ["accuracy_unanimous", "accuracy_split", "margin_agreement_correlation"],
        "annotators",
    )
    show(paired, ["vote_ece", "worst_group_accuracy"], "annotators")
    groups = paired["POPQUORN, the less offensive of two"].audits["annotators"].tables
    shown = pd.DataFrame(groups["by_annotator"].rows, columns=groups["by_annotator"].columns)
    shown = shown[shown["attribute"].isin(["gender", "race", "age"])]
    print("| POPQUORN group | votes | accuracy |\n| --- | --- | --- |")
    for row in shown.itertuples():
        print(
            f"| {row.attribute}: {row.group} | {row.votes} | "
            f"{row.accuracy:.3f} [{row.low:.3f}, {row.high:.3f}] |"
        )
    print()


def pairs_of_ratings(data: Path) -> pd.DataFrame:
    """Pairs of POPQUORN texts that four raters or more have both rated, with their demographics.

    A rater prefers the text rated less offensive; chosen is the one that most prefer.
    """
    items = pd.read_json(data / "popquorn/offensiveness.jsonl.gz", lines=True)
    people = pd.read_json(data / "popquorn/annotators.jsonl.gz", lines=True).set_index("id")
    ratings = [
        dict(zip(row.annotators, row.annotator_votes, strict=True)) for row in items.itertuples()
    ]
    order = np.random.default_rng(0).permutation(len(items))
    rows, used = [], set()
    for i, j in itertools.combinations(order.tolist(), 2):
        both = sorted(ratings[i].keys() & ratings[j].keys())
        if len(both) < 4 or i in used or j in used:
            continue
        used |= {i, j}
        lead = [ratings[j][who] - ratings[i][who] for who in both]  # above 0: i is preferred
        first = sum(x > 0 for x in lead) - sum(x < 0 for x in lead)
        if first == 0:
            continue
        names = {1: "chosen", -1: "rejected", 0: "tie"}
        chosen, rejected = (i, j) if first > 0 else (j, i)
        row = {
            "prompt": f"Comment {len(rows)}: say something to the others in this forum.",
            "chosen": items["output"][chosen],
            "rejected": items["output"][rejected],
            "annotators": both,
            "annotator_votes": [names[int(np.sign(x) * np.sign(first))] for x in lead],
        }
        for attribute in ("gender", "race", "age"):
            row[f"annotator_{attribute}"] = [str(people[attribute].get(who)) for who in both]
        rows.append(row)
    return pd.DataFrame(rows)


def coverage(data: Path, model: str, store: Path | None) -> None:
    """HH-RLHF feedback against what others ask."""
    feedback = data / "hh_rlhf/train.jsonl.gz"
    covered, judged = {}, {}
    for name, file in {
        "HH-RLHF, held out": "hh_rlhf/test",
        "RMB, helpfulness": "rmb/pairs_helpfulness",
        "LLMBar": "llmbar/pairs",
        "HHH": "hhh_alignment/pairs",
    }.items():
        table = rma.load(data / f"{file}.jsonl.gz").frame
        columns = [c for c in ("id", "prompt", "chosen", "rejected", "group", "tie") if c in table]
        pairs = table[columns].sample(min(SAMPLE, len(table)), random_state=0)
        deployment = table[[c for c in ("id", "prompt", "group") if c in table]].assign(
            outputs=[[text] for text in table["chosen"]]
        )
        covered[name] = rma.audit(
            no_reward(),
            pairs,
            feedback=feedback,
            deployment=deployment,
            only=["coverage"],
            cache=False,
        )
        judged[name] = rma.audit(
            model, pairs, feedback=feedback, only=["generalization"], store=store
        )
    show(covered, ["kappa_exact", "kappa", "kappa_mass", "rho", "rho_mass"], "coverage")
    show(judged, ["accuracy_in", "accuracy_out", "accuracy_gap"], "generalization")
    show(
        judged,
        ["calibration_gap", "error_distance_auroc", "reward_inflation"],
        "generalization",
    )


def no_reward() -> Any:
    """A model for audits that need none."""
    return rma.load_reward_model(lambda texts: [0.0] * len(texts))


def disagreement(data: Path, model: str, store: Path | None) -> None:
    """Nine reward models on solutions to problems; ten on one-word answers (no labels there)."""
    solutions = data / "rewardmath/rm_scores_10way.jsonl.gz"
    words = word_pairs(data)
    reports = {
        "RewardMATH, 9 reward models": published(rma.load(solutions), solutions),
        "one-word answers, 10 reward models": published(rma.load(words), words),
    }
    show(reports, ["margin_sd", "sign_disagreement"], "disagreement")
    labelled = {name: report for name, report in reports.items() if name.startswith("Reward")}
    show(labelled, ["mutual_information", "error_auroc"], "disagreement")
    show(labelled, ["selective_accuracy_80", "aurc", "excess_aurc"], "disagreement")
    for table in ("members", "aggregates"):
        found = labelled["RewardMATH, 9 reward models"].audits["disagreement"].tables[table]
        print(f"| RewardMATH: {table} | accuracy |\n| --- | --- |")
        for name, value, low, high in found.rows:
            print(f"| {name} | {value:.3f} [{low:.3f}, {high:.3f}] |")
        print()


def published(table: Any, source: Any) -> rma.Report:
    """An audit of all models in the column ``scores`` as one ensemble."""
    names = list(table.frame["scores"].iloc[0])
    first, *others = [f"recorded:{name}" for name in names]
    return rma.audit(first, source, ensemble=others, only=["disagreement"], cache=False)


def word_pairs(data: Path) -> pd.DataFrame:
    """Random pairs of words under each wording of the question; which is "chosen" means nothing."""
    path = data / "rm_word_scores/words_10rms_54prompts.jsonl.gz"
    table = pd.read_json(path, lines=True)
    rng = np.random.default_rng(0)
    rows = []
    for place, wording in enumerate(table["prompt_keys"].iloc[0]):
        for _ in range(WORD_PAIRS):
            one, two = rng.choice(len(table), 2, replace=False)
            scores = {
                name: {
                    "chosen": table["scores"][one][name][place],
                    "rejected": table["scores"][two][name][place],
                }
                for name in table["scores"][one]
            }
            rows.append(
                {
                    "prompt": wording,
                    "chosen": table["output"][one],
                    "rejected": table["output"][two],
                    "scores": scores,
                }
            )
    return pd.DataFrame(rows)


def show(reports: dict[str, rma.Report], names: Sequence[str], audit: str) -> None:
    """A Markdown table: a row a data set, a column a metric."""
    print("| data | " + " | ".join(f"`{name}`" for name in names) + " | n |")
    print("| --- |" + " --- |" * (len(names) + 1))
    for data, report in reports.items():
        result = report.audits[audit]
        if result.status != "ok":
            print(f"| {data} | {result.status}: {json.dumps(result.reason)} |")
            continue
        found = [report.get(f"{audit}.{name}") for name in names]
        print(f"| {data} | " + " | ".join(cell(e) for e in found) + f" | {found[0].n:,} |")
    print(flush=True)


def cell(estimate: Estimate) -> str:
    """A value with its interval, or why there is none."""
    if not np.isfinite(estimate.value if estimate.value is not None else np.nan):
        return "undefined"
    return f"{estimate.value:.3f} [{estimate.ci[0]:.3f}, {estimate.ci[1]:.3f}]"


if __name__ == "__main__":
    main()
