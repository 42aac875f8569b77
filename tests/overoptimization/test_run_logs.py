"""Logs as runs leave them: without a KL, resumed, of several runs, in folders with other files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import DataError
from rmaudit.overoptimization import from_logs
from rmaudit.overoptimization.logs import read_log

STEPS = 40


def rows(first: int = 1, last: int = STEPS, kl: str = "kl_k1", seed: int = 0) -> list[Any]:
    """Gold is highest at step 20."""
    noise = 0.2 * np.random.default_rng(seed).standard_normal(last + 1)
    return [
        {"step": s, kl: 0.5 * s, "proxy": 0.1 * s, "gold": min(s, 40 - s) / 4 + noise[s]}
        for s in range(first, last + 1)
    ]


def without(key: str, records: list[Any]) -> list[Any]:
    return [{k: v for k, v in record.items() if k != key} for record in records]


def written(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


NO_KL = {
    "not logged": (lambda r: without("kl_k1", [r])[0], "no KL is logged"),
    "zero": (lambda r: {**r, "kl_k1": 0.0}, "kl_k1 is 0 throughout"),
    "negative": (lambda r: {**r, "kl_k1": -r["kl_k1"]}, "kl_k1 is negative at 40 of 40 steps"),
}


@pytest.mark.parametrize("kind", NO_KL)
def test_a_run_without_a_kl_has_gains_by_step(tmp_path: Path, kind: str) -> None:
    """As TRL's GRPO logs by default: its beta is 0, and then it computes no KL."""
    change, note = NO_KL[kind]
    result = from_logs([written(tmp_path / "run.jsonl", [change(row) for row in rows()])])
    assert any(note in one for one in result.notes), result.notes
    assert "nan" not in " ".join((*result.notes, *result.sentences(), *result.summary()[0]))
    found = result.studies[0].found
    whole = from_logs([written(tmp_path / "whole.jsonl", rows())]).studies[0].found
    for name in ("gain_at_peak", "loss_after_peak", "safe_strength", "onset_step"):
        assert getattr(found, name) == getattr(whole, name), name  # the KL has no part in them
    assert found.safe_kl.undefined_reason == "no KL is logged"
    assert not any(fit.alpha.defined for fit in found.fits)


def test_a_run_without_a_kl_is_drawn_by_step(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", without("kl_k1", rows()))
    out = tmp_path / "out"
    arguments = ["overopt", str(path), "--out", str(out), "--venue", "neurips"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    endings = {file.suffix for file in out.glob("gain-rl-step-neurips.*")}
    assert {".pdf", ".svg", ".png"} <= endings
    assert {f.stem for f in out.glob("gain-rl*")} == {"gain-rl-step-neurips"}
    curve = pd.read_csv(out / "curve.csv")
    assert curve["kl"].isna().all()
    assert curve["gold"].notna().all()
    marks = pd.read_csv(out / "marks.csv").set_index("kind")
    assert f"step {marks.loc['safe', 'step']:.0f}" in done.output
    assert "training step" in (out / "report.html").read_text()
    # What a library no longer advises is not ours: old releases of matplotlib do such things.
    strict = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    script = [sys.executable, *strict, "figures.py"]
    again = subprocess.run(script, cwd=out, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (out / "my-gain-rl-step.pdf").is_file()


def test_runs_with_and_without_a_kl_are_drawn_together(tmp_path: Path) -> None:
    with_kl = written(tmp_path / "a.jsonl", rows())
    bare = written(tmp_path / "b.jsonl", without("kl_k1", rows(seed=1)))
    result = from_logs([with_kl, bare], resamples=100)
    assert [one.found.safe_kl.defined for one in result.studies] == [True, False]
    files = result.save(tmp_path / "out", ("icml",), ("kl", "step"))
    assert {"gain-rl-icml.svg", "gain-rl-step-icml.svg"} <= {file.name for file in files}


@pytest.mark.parametrize("ended", [STEPS, 28])
def test_what_a_resumed_run_did_again_is_left_out_and_said(tmp_path: Path, ended: int) -> None:
    """It stopped at 30 and went on from 24: of steps 25 on, only what came later is of the run."""
    later = [{**row, "gold": row["gold"] + 100} for row in rows(25, ended)]
    log = read_log(written(tmp_path / "run.jsonl", rows(1, 30) + later))
    assert log.run.step.tolist() == list(range(1, ended + 1))
    assert (log.run.gold > 50).tolist() == [step > 24 for step in range(1, ended + 1)]
    assert log.notes == ("the run went back (from step 30 to 25): 6 records before that are left "
                         "out",)  # fmt: skip


def test_a_counter_that_began_again_is_said(tmp_path: Path) -> None:
    log = read_log(written(tmp_path / "run.jsonl", rows(1, 20) + rows(1, 15)))
    assert log.run.step.tolist() == list(range(1, 16))
    assert "20 records before that are left out; if a counter was set back" in log.notes[0]


def test_records_in_no_order_and_one_that_is_late_are_all_read(tmp_path: Path) -> None:
    records = rows()
    late = [*records[:7], records[8], records[7], *records[9:]]
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(STEPS)]
    for order in (records, late, shuffled, records[::-1]):
        log = read_log(written(tmp_path / "run.jsonl", order))
        assert log.run.gold.tolist() == [row["gold"] for row in records]
        assert log.notes == ()
    twice = read_log(written(tmp_path / "run.jsonl", [*shuffled, *shuffled[::-1]]))
    assert twice.run.gold.tolist() == [row["gold"] for row in records]
    assert twice.notes == (f"{STEPS} steps were written twice: the last record counts",)


def test_of_an_export_of_two_runs_one_must_be_named(tmp_path: Path) -> None:
    pair = zip(rows(), rows(seed=1), strict=True)
    frame = pd.DataFrame(
        {"Step": a["step"], **{f"{run} - train/{k}": row[k] for run, row in (("b", b), ("a-1", a))
                              for k in ("kl_k1", "proxy", "gold")}} for a, b in pair
    )  # fmt: skip
    frame["b - train/gold__MIN"] = 0.0
    path = tmp_path / "export.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"holds 2 runs \(b, a-1\).*'b - train/kl_k1'"):
        read_log(path)
    run = read_log(path, gold="a-1 - train/gold").run
    assert run.gold.tolist() == pytest.approx([row["gold"] for row in rows()])
    with pytest.raises(DataError, match="holds 2 runs"):
        read_log(path, gold="a-1 - train/gold", kl="b - train/kl_k1")
    frame[["Step", *(c for c in frame if c.startswith("b - "))]].to_csv(path, index=False)
    assert read_log(path).run.gold.tolist() == pytest.approx([r["gold"] for r in rows(seed=1)])


def test_of_several_gold_rewards_the_one_that_is_read_is_said(tmp_path: Path) -> None:
    more = {"eval/gold": 1.0, "gold_sd": 1.0}
    records = [
        {**row, **more, "gold/mean": float(np.float32(row["gold"]))} for row in rows()
    ]  # twice
    log = read_log(written(tmp_path / "run.jsonl", records))
    assert log.notes == ("gold is gold; --log-gold takes another (eval/gold)",)
    assert read_log(tmp_path / "run.jsonl", gold="gold").notes == ()


def test_the_unit_of_an_unknown_kl_is_said_to_be_assumed(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", rows(kl="drift"))
    assert "drift is taken as nats per sequence" in read_log(path, kl="drift").notes[0]
    assert read_log(path, kl="drift", length="none").notes == ()
    assert read_log(path, kl="drift", length="10").run.kl[0] == 5.0


def test_a_log_is_found_among_other_files(tmp_path: Path) -> None:
    """The first of its kind is not taken for the log where it holds none."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "train.log").write_text("Loading weights: 100%\n")
    (folder / "arguments.csv").write_text("name,value\nlr,1\n")
    written(folder / "notes.jsonl", [{"a": 1}])
    pd.DataFrame(rows()).to_csv(folder / "history.csv", index=False)
    assert read_log(folder).run.step.size == STEPS
    pd.DataFrame(rows()).to_csv(folder / "other.csv", index=False)
    with pytest.raises(DataError, match=r"holds 2 logs \(history.csv, other.csv\); name one"):
        read_log(folder)


def test_logs_named_by_seed_are_no_completions(tmp_path: Path) -> None:
    written(tmp_path / "run" / "log.jsonl", rows())
    written(tmp_path / "run" / "seed0.jsonl", rows(seed=1))
    log = read_log(tmp_path / "run")
    assert log.notes == ()
    assert log.run.rollouts is None


def test_a_folder_of_runs(tmp_path: Path) -> None:
    written(tmp_path / "all" / "one" / "metrics.jsonl", rows())
    assert read_log(tmp_path / "all").run.step.size == STEPS
    state = tmp_path / "all" / "two" / "checkpoint-40" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"log_history": rows(seed=1)}))
    with pytest.raises(DataError, match=r"holds 2 runs \(one, two\); name one, or each with --log"):
        read_log(tmp_path / "all")
    (tmp_path / "wandb" / "run-1").mkdir(parents=True)
    (tmp_path / "wandb" / "run-1" / "run-1.wandb").write_bytes(b"x")
    with pytest.raises(DataError, match="W&B's binary file is not read"):
        read_log(tmp_path / "wandb")


def test_the_state_that_goes_furthest_is_the_log(tmp_path: Path) -> None:
    """A run that ended, and was then resumed, has an older state in its folder than below it."""
    for place, last in (("", 20), ("checkpoint-10", 10), ("checkpoint-40", 40)):
        file = tmp_path / "run" / place / "trainer_state.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"log_history": rows(1, last)}))
    log = read_log(tmp_path / "run")
    assert (log.name, log.run.step[-1]) == ("run", 40)


def completions(folder: Path, named: str, steps: int = STEPS) -> Path:
    """Rewards of 24 prompts at each step, in one file or one a step, in words of TRL or verl."""
    rng = np.random.default_rng(3)
    trl = named.startswith("completions")
    for step in range(1, steps + 1):
        at = [{"prompt" if trl else "input": f"p{k}", "completion" if trl else "output": "x",
               "help": 0.1 * step + rng.standard_normal(), "form": 0.2 * step, "step": step,
               "gold": min(step, 40 - step) / 4 + rng.standard_normal()}
              for k in range(24)]  # fmt: skip
        path = folder / named.format(step)
        path.parent.mkdir(parents=True, exist_ok=True)
        if trl:
            pd.DataFrame(at).assign(advantage=0.0).to_parquet(path)
        else:
            lines = [{**row, "score": row["help"] + row["form"]} for row in at]
            with path.open("a") as out:
                out.writelines(json.dumps(line) + "\n" for line in lines)
    return folder


@pytest.mark.parametrize(
    "named", ["completions/completions_{:05d}.parquet", "rollouts/{}.jsonl", "rollouts.jsonl"]
)
def test_completions_without_a_log_are_a_run(tmp_path: Path, named: str) -> None:
    """A run that has not saved a checkpoint yet: its completions are all there is."""
    folder = completions(tmp_path / "run", named)
    log = read_log(folder)
    assert log.run.step.tolist() == list(range(1, STEPS + 1))
    assert log.notes[0].startswith("no log: the proxy is the mean of ")
    assert ("help, form (each with weight 1)" in log.notes[0]) == named.startswith("completions")
    assert np.corrcoef(log.run.proxy, 0.3 * log.run.step)[0, 1] > 0.99
    found = from_logs([folder], resamples=100).studies[0]
    onset = found.found.onset_step
    assert onset is not None
    assert onset.low <= 20 <= onset.high < STEPS
    assert found.found.gain_at_peak.method.startswith("by prompt")
    assert found.movers[0].name == "form"


def test_completions_without_a_step_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    written(folder / "log.jsonl", rows())
    lines = [{"input": "p", "output": "x", "score": 1.0} for _ in range(5)]
    written(folder / "rollouts" / "all.jsonl", lines)
    assert read_log(folder).notes == (
        "5 of 5 completions have no step, in a column or in the name: left out",
    )


def test_a_folder_without_gold_says_how_completions_give_it(tmp_path: Path) -> None:
    written(tmp_path / "run" / "log.jsonl", without("gold", rows()))
    lines = [{"input": "p", "output": "x", "score": 1.0} for _ in range(5)]
    written(tmp_path / "run" / "rollouts" / "1.jsonl", lines)
    with pytest.raises(DataError, match="or score the completions with --gold MODEL"):
        read_log(tmp_path / "run")


def test_curves_on_one_axis_have_one_unit(tmp_path: Path) -> None:
    sds = {"rmaudit/gold_sd": 5.0, "rmaudit/proxy_sd": 2.0}
    keyed = [{f"rmaudit/{k.replace('_k1', '')}" if k != "step" else k: v for k, v in row.items()}
             | sds for row in rows()]  # fmt: skip
    told = written(tmp_path / "told.jsonl", keyed)
    bare = written(tmp_path / "bare.jsonl", rows())
    alone, both = from_logs([told], resamples=100), from_logs([told, bare], resamples=100)
    assert alone.unit_words == "gains in gold SDs"
    assert both.unit_words == "gains in the rewards' own units"
    assert "told: in own units too, as all curves share an axis" in both.notes
    gains = [one.found.gain_at_peak.value for one in (*alone.studies, *both.studies)]
    assert gains == pytest.approx([gains[1] / 5, gains[2], gains[2]])


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e5])
def test_small_and_large_units_keep_their_digits(tmp_path: Path, unit: float) -> None:
    records = [{**row, "gold": unit * row["gold"]} for row in rows()]
    result = from_logs([written(tmp_path / "run.jsonl", records)])
    found = result.studies[0].found
    shown = result.summary()[0][3]
    for text, number in zip(
        shown.replace("[", "").replace("]", "").replace(",", "").split(),
        (found.gain_at_peak.value, found.gain_at_peak.low, found.gain_at_peak.high),
        strict=True,
    ):
        assert float(text) == pytest.approx(number, rel=0.006)
    assert " ".join(result.sentences()).count(" 0.00 ") == 0


def test_a_value_whose_square_is_no_number_is_left_out_and_said(tmp_path: Path) -> None:
    records = rows()
    records[3]["gold"] = 1e200
    result = from_logs([written(tmp_path / "run.jsonl", records)], resamples=100)
    assert "run: gold: 1 of 40 values are no finite number: left out" in result.notes
    assert result.studies[0].found.gain_at_peak.value < 10
