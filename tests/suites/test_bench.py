"""`rma.bench`, the command, and the folder that both write."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from published_rows import judged, pair, rmb_pair, styled, write
from typer.testing import CliRunner

import rmaudit as rma
from rmaudit import errors as rma_errors
from rmaudit.cli import app
from rmaudit.suites import SUITES, Item, Suite, register_suite
from rmaudit.suites.entries import Entry, read_entries
from rmaudit.suites.scored import Official, Scored


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, done.output


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [
        pair(subset, float(i % 3), float(i % 2), i)
        for subset in ("alpacaeval-easy", "hep-go", "donotanswer", "llmbar-natural")
        for i in range(12)
    ]
    return write(tmp_path / "rows.jsonl", rows)


def test_the_command_writes_what_the_python_interface_returns(tmp_path: Path, pairs: Path) -> None:
    code, output = invoke(
        "bench", "rewardbench", "--data", pairs, "--model", "recorded", "--out", tmp_path / "b"
    )
    assert code == 0, output
    written = json.loads((tmp_path / "b" / "bench.json").read_text())
    report = rma.bench("rewardbench", pairs, "recorded")
    assert written["official"] == dict(report.official)
    # i % 3 > i % 2 for i in 2, 5, 8, 11 and, of 0 1 2 0 1 2 against 0 1 0 1 0 1, for 4 and 10.
    assert written["official"]["score"] == pytest.approx(6 / 12)
    assert written["suite"]["name"] == "rewardbench"
    assert report["rewardbench.score"].value == pytest.approx(6 / 12)
    low, high = report["rewardbench.score"].ci
    assert low < 0.5 < high


def test_a_function_scores_the_texts_as_the_blind_rule_does(tmp_path: Path, pairs: Path) -> None:
    report = rma.bench(
        "rewardbench", pairs, lambda pairs: [float(len(o)) for _, o in pairs], cache=False
    )
    assert report.official["score"] == 1
    assert report["rewardbench.blind_longer"].value == 1
    assert report["rewardbench.blind_shorter"].value == 0


def test_a_bench_folder_is_gated_and_compared_like_an_audit(tmp_path: Path, pairs: Path) -> None:
    rma.bench("rewardbench", pairs, "recorded").save(tmp_path / "a")
    (tmp_path / "gate.toml").write_text(
        'schema_version = 1\n[[rule]]\nmetric = "rewardbench.score"\nmin = 0.2\n'
        '[[rule]]\nmetric = "rewardbench.score"\nslice = { part = "section.Chat" }\nmin = 0.9\n'
    )
    result = rma.gate(tmp_path / "a", tmp_path / "gate.toml")
    assert [outcome.verdict for outcome in result.outcomes] == ["pass", "fail"]
    same = rma.compare(tmp_path / "a", tmp_path / "a")
    assert same.prompts["shared"] == 48
    assert not same.worse


def test_a_gate_takes_official_names_and_names_near_ones(tmp_path: Path, pairs: Path) -> None:
    folder = rma.bench("rewardbench", pairs, "recorded").save(tmp_path / "a")
    gate = tmp_path / "gate.toml"
    gate.write_text(
        'schema_version = 1\n[[rule]]\nmetric = "rewardbench.section.Chat"\nmax = 0.9\n'
        '[[rule]]\nmetric = "rm_bench.score"\nmin = 0.1\n'
    )
    chat, absent = rma.gate(folder, gate).outcomes
    assert (chat.verdict, chat.value) == ("pass", 0.5)
    assert absent.verdict == "fail"
    assert "not asked for" in absent.reason
    gate.write_text(gate.read_text().replace("rm_bench.score", "rewardbench.scor"))
    with pytest.raises(rma_errors.UsageError, match=r"rewardbench\.score"):
        rma.gate(folder, gate)


def test_a_regression_against_a_baseline_is_paired_by_item(tmp_path: Path, pairs: Path) -> None:
    better = [json.loads(line) for line in pairs.read_text().splitlines()]
    for row in better:
        row["scores_chosen"] = 9.0 if row["id"] % 4 else row["scores_chosen"]
    rma.bench("rewardbench", pairs, "recorded").save(tmp_path / "worse")
    rma.bench("rewardbench", write(tmp_path / "b.jsonl", better), "recorded").save(
        tmp_path / "better"
    )
    gate = tmp_path / "gate.toml"
    gate.write_text(
        'schema_version = 1\n[[rule]]\nmetric = "rewardbench.score"\nmax_regression = 0.05\n'
    )
    assert rma.gate(tmp_path / "worse", gate, tmp_path / "better").verdict == "fail"
    assert rma.gate(tmp_path / "better", gate, tmp_path / "worse").verdict == "pass"
    found = rma.compare(tmp_path / "better", tmp_path / "worse")
    assert next(d.name for d in found.worse if not d.slice) in (
        "rewardbench.score",
        "rewardbench.score_ties_half",
        "rewardbench.accuracy",
    )


def test_the_card_carries_official_numbers_of_each_benchmark_once(
    tmp_path: Path, pairs: Path
) -> None:
    first = rma.bench("rewardbench", pairs, "recorded").save(tmp_path / "a")
    styles = write(
        tmp_path / "styles.json", [styled("chat", [1, 1, 1], [0, 0, 0], k) for k in (0, 1)]
    )
    second = rma.bench("rm-bench", styles, "recorded").save(tmp_path / "b")
    card = tmp_path / "README.md"
    for folder in (first, second, first):
        code, output = invoke("card", folder, "--out", card)
        assert code == 0, output
    from huggingface_hub import ModelCard

    results = ModelCard(card.read_text()).data.eval_results
    named = {r.metric_name: r.metric_value for r in results}
    assert len(named) == len(results), "none twice"
    assert named["RewardBench score"] == pytest.approx(0.5)
    assert named["RM-Bench domain.chat.hard"] == 1
    assert "RewardBench subset.hep-go" not in named
    assert card.read_text().count("## RewardBench") == 1


def test_the_page_says_whether_a_blind_rule_does_as_well(tmp_path: Path, pairs: Path) -> None:
    report = rma.bench("rewardbench", pairs, "recorded")
    page = (report.save(tmp_path / "a") / "bench.html").read_text()
    assert "not shown to be above the best blind rule (longer wins: 100" in page
    assert "<svg" in page
    assert "<script" not in page


def test_the_figure_of_a_part_has_the_score_of_the_groups_present(tmp_path: Path) -> None:
    rows = [styled("chat", [1, 1, 1], [0, 2, 0], k) for k in range(8)]
    report = rma.bench("rm-bench", write(tmp_path / "rm.json", rows), "recorded")
    (audit,) = report.audits.values()
    shown = {row["label"]: row["value"] for row in audit.figures[0].data["rows"]}
    assert shown["Score of the groups present"] == pytest.approx(2 / 3)
    assert "Official score" not in shown
    whole = [styled(d, [1, 1, 1], [0, 2, 0], k) for d in ("chat", "math", "code") for k in (0, 1)]
    whole += [styled("safety-refuse", [1, 1, 1], [0, 2, 0], k) for k in range(2)]
    report = rma.bench("rm-bench", write(tmp_path / "whole.json", whole), "recorded")
    (audit,) = report.audits.values()
    labels = [row["label"] for row in audit.figures[0].data["rows"]]
    assert labels[0] == "Official score"
    assert "Score of the groups present" not in labels


def test_an_audit_runs_on_the_pairs_of_a_suite(tmp_path: Path) -> None:
    rows = [styled("chat", [1, 1, 1], [0, 2, 0], k) for k in range(8)]
    path = write(tmp_path / "rm.json", rows)
    report = rma.audit("recorded", f"suite:rm-bench:{path}", only=["preference"], cache=False)
    # Each style against its own; the style matrix crosses them: the middle one loses to all.
    assert report["preference.accuracy"].value == pytest.approx(2 / 3)
    assert report["preference.accuracy"].n_clusters == 8
    assert report["preference.style_hard"].value == pytest.approx(2 / 3)
    assert report["preference.style_normal"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("suite", "row", "said"),
    [
        ("rm-bench", styled("chat", [1, 1, 1], [0, 0]), "row 1: column 'score_rejected' has 2"),
        ("rm-bench", styled("chat", [1, 1, "x"], [0, 0, 0]), "row 1: column 'score_chosen'"),
        ("rmb", styled("chat", [1, 1, 1], [0, 0, 0]), "it looks like rm-bench"),
        ("rmb", rmb_pair("Elsewhere", 1, 0) | {"category_path": "x"}, "category_path 'x' must"),
        ("rmbench", rmb_pair("Helpfulness/A", 1, 0), "did you mean"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, suite: str, row: dict[str, object], said: str
) -> None:
    path = write(tmp_path / "rows.jsonl", [row])
    code, output = invoke("bench", suite, "--data", path, "--model", "recorded", "--out", tmp_path)
    assert code == 2
    assert said in " ".join(output.split())
    assert "Traceback" not in output


def test_without_recorded_rewards_the_fields_are_named(tmp_path: Path) -> None:
    row = styled("chat", [], [])
    del row["score_chosen"], row["score_rejected"]
    path = write(tmp_path / "rows.jsonl", [row])
    code, output = invoke("bench", "rm-bench", "--data", path, "--model", "recorded")
    assert code == 2
    assert "score_chosen (3), score_rejected (3)" in " ".join(output.split())


def test_every_suite_of_a_folder(tmp_path: Path, pairs: Path) -> None:
    (tmp_path / "all").mkdir()
    pairs.rename(tmp_path / "all" / "a.jsonl")
    write(tmp_path / "all" / "b.json", [styled("chat", [1, 1, 1], [0, 0, 0])])
    write(tmp_path / "all" / "other.jsonl", [{"what": 1}])
    out = tmp_path / "out"
    code, output = invoke(*("bench", "all", tmp_path / "all", "--model", "recorded", "--out", out))
    assert code == 0, output
    assert sorted(path.name for path in out.iterdir()) == ["rewardbench", "rm-bench"]


def test_data_are_given_once(tmp_path: Path, pairs: Path) -> None:
    command = ("bench", "rewardbench", pairs, "--model", "recorded", "--out", tmp_path / "b")
    assert invoke(*command)[0] == 0
    code, output = invoke(*command, "--data", pairs)
    assert code == 2
    assert "are two data: give one" in " ".join(output.split())


def test_the_suites_are_listed_with_what_to_download() -> None:
    code, output = invoke("bench", "list")
    assert code == 0
    assert "allenai/reward-bench-2" in output
    assert "chosen_reward, reject_reward" in " ".join(output.split())


def test_runs_of_all_suites_are_one_league_per_suite(tmp_path: Path, pairs: Path) -> None:
    styles = write(
        tmp_path / "styles.json", [styled("chat", [1, 1, 1], [0, 2, 0], k) for k in range(20)]
    )
    for model in ("a", "b"):
        for suite, path in (("rewardbench", pairs), ("rm-bench", styles)):
            rma.bench(suite, path, "recorded", name=model).save(tmp_path / model / suite)
    found = rma.league([tmp_path / "a", tmp_path / "b"])
    # RM-Bench has one domain of four here: its official score is undefined.
    assert [board.metric for board in found.boards] == [
        "rewardbench.score",
        "rm_bench.score_present",
    ]
    assert [board.shared for board in found.boards] == [48, 20]
    assert all(board.apart == 1 for board in found.boards), "the same rewards"
    code, output = invoke("compare", tmp_path / "a", tmp_path / "b")
    assert code == 0, output
    assert "RM-Bench: Score of the groups present" in output


def test_a_number_without_an_interval_does_not_say_that_prompts_are_not_shared(
    tmp_path: Path,
) -> None:
    rows = [
        {
            "idx": str(k),
            "classification": class_,
            "error_steps": [2],
            "scores": {"step_level_validity_labels": [True, True, k > 0]},
        }
        for k in range(3)
        for class_ in ("circular", "counterfactual", "deception")
    ]
    path = write(tmp_path / "prm.json", rows)
    runs = [rma.bench("prmbench", path, "recorded", name=name) for name in ("a", "b")]
    assert max(metric.n_prompts for metric in runs[0].metrics()) > 3, (
        "rows of a number of the quirk"
    )
    found = rma.league(runs, ["prmbench.score"])
    assert found.boards[0].shared == 3
    assert not [note for note in found.notes if "shared by all runs" in note]


def test_a_suite_is_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SUITES.load()
    monkeypatch.setattr(SUITES, "_things", dict(SUITES._things))

    @register_suite
    class Coin(Suite):
        """A third party's suite in one class."""

        name, title = "coin", "Coin"
        question = "Heads?"
        rule = "Share of rows with the larger reward for heads."
        source, download, recorded = "made up", "a file", "heads, tails"
        columns = (("heads", "tails"),)

        def item(self, entry: Entry) -> Item:
            key = entry.text("id")
            rewards = (entry.reward("heads"), entry.reward("tails"))
            return Item(key, key, "coin", pairs=((0, 1),), rewards=rewards)

        def official(self, scored: Scored) -> Official:
            places = range(len(scored.items))
            won = [scored.win(*scored.rewards[place]) for place in places]
            return {"score": scored.mean(places, won)}

    rows = [{"id": k, "heads": k % 4, "tails": 1} for k in range(40)]
    report = rma.bench("coin", write(tmp_path / "coin.jsonl", rows), "recorded")
    assert report.official == {"score": 0.5}
    assert report["coin.score_ties_half"].value == pytest.approx(0.5 + 0.25 / 2)


def first_shown(prompts: list[str], responses_a: list[str], responses_b: list[str]) -> list[float]:
    """A judge who prefers "this is A", and else what is shown first."""
    return [
        0.9 if "sure" in prompt and a == "this is A" else 0.2 if "sure" in prompt else 0.7
        for prompt, a in zip(prompts, responses_a, strict=True)
    ]


def test_a_model_that_compares_is_asked_in_both_orders(tmp_path: Path) -> None:
    rows = [judged(label, None, id_=k) for k, label in enumerate(["A>B", "A>B", "B>A"])]
    rows[0]["question"] = rows[2]["question"] = "sure"
    for row in rows:
        del row["judgments"]
    path = write(tmp_path / "rows.jsonl", rows)
    report = rma.bench("judgebench", path, first_shown, cache=False)
    # Sure and correct; first in both orders, so one vote each way; sure and wrong.
    assert report.official["both.overall"] == pytest.approx(1 / 3)
    assert report.official["single.overall"] == pytest.approx(2 / 3)
    assert report["judgebench.score_ties_half"].value == pytest.approx(1.5 / 3)
    styles = write(tmp_path / "rm.json", [styled("chat", [1, 1, 1], [0, 2, 0])])
    with pytest.raises(rma_errors.DataError, match=r"has 6 responses and .* compares two"):
        rma.bench("rm-bench", styles, first_shown, cache=False)


def test_one_file_that_cannot_be_run_does_not_cost_the_others(tmp_path: Path, pairs: Path) -> None:
    (tmp_path / "all").mkdir()
    pairs.rename(tmp_path / "all" / "a.jsonl")
    plain = styled("chat", [], [])
    del plain["score_chosen"], plain["score_rejected"]
    write(tmp_path / "all" / "b.json", [plain])
    out = tmp_path / "out"
    code, output = invoke(
        *("bench", "all", "--data", tmp_path / "all", "--model", "recorded", "--out", out)
    )
    assert code == 2
    assert "no recorded rewards" in " ".join(output.split())
    assert (out / "rewardbench" / "bench.json").is_file()


def test_a_limit_takes_alike_from_the_files_of_a_folder(tmp_path: Path) -> None:
    for name, size in (("chat", 2), ("code", 9), ("safety-refuse", 9)):
        write(
            tmp_path / f"{name}.json", [styled(name, [1, 1, 1], [0, 0, 0], k) for k in range(size)]
        )
    entries, source = read_entries(tmp_path, 10)
    counts = Counter(entry.row["domain"] for entry in entries)
    assert counts == {"chat": 2, "code": 4, "safety-refuse": 4}
    assert source.rows_read == 10
    assert [e.number for e in entries if e.row["domain"] == "code"] == [1, 2, 3, 4]
    assert len(read_entries(tmp_path)[0]) == 20
