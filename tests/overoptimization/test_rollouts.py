"""Rewards of a run's completions: errors by prompt, components, what moved first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from rmaudit.overoptimization import from_logs
from rmaudit.overoptimization.logs import read_log
from rmaudit.overoptimization.rollouts import Rollouts

STEPS, PROMPTS, EACH = 40, 24, 2


def completions(seed: int, steps: int = STEPS) -> pd.DataFrame:
    """Gold turns at half; "filler" starts to pay at step 11, "tidy" never moves."""
    rng = np.random.default_rng(seed)
    rows = []
    slope = 1 + 0.8 * rng.standard_normal(PROMPTS)  # how fast a prompt's gold rises and falls
    for step in range(1, steps + 1):
        rise = min(step, steps - step) / steps
        for prompt in range(PROMPTS):
            gold = prompt + slope[prompt] * rise + 0.1 * rng.standard_normal(EACH)
            filler = 0.2 * max(step - 10, 0) + 0.3 * rng.standard_normal(EACH)
            tidy = 0.3 * rng.standard_normal(EACH)
            rows += [
                {"step": step, "prompt": [{"role": "user", "content": f"p{prompt}"}],
                 "completion": "c", "filler": f, "tidy": y, "gold": g, "advantage": 0.0}
                for f, y, g in zip(filler, tidy, gold, strict=True)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def trl_run(folder: Path, seed: int = 0, *, components_logged: bool = True) -> Path:
    frame = completions(seed)
    (folder / "completions").mkdir(parents=True)
    history = []
    for step, part in frame.groupby("step"):
        part.to_parquet(folder / "completions" / f"completions_{step:05d}.parquet")
        total = part["filler"] + part["tidy"]
        record = {"step": step, "kl": 0.01 * step, "completions/mean_length": 20.0}
        record["reward"] = total.mean()
        if components_logged:
            record |= {f"rewards/{n}/mean": part[n].mean() for n in ("filler", "tidy")}
        history.append(record)
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    return folder


def test_the_joint_error_of_windows_is_that_of_prompts() -> None:
    """By definition: residual totals of a prompt, over windows, with G / (G - 1)."""
    rng = np.random.default_rng(3)
    n = 400
    step, prompt = rng.integers(0, 10, n).astype(float), rng.integers(0, 25, n)
    values = prompt / 5 + rng.standard_normal(n)
    values[7] = np.nan
    edges = np.array([-0.5, 4.5, 9.5])
    points = Rollouts(step, prompt, {"gold": values}).points("gold", edges)
    assert points is not None
    expected = np.zeros((2, 2))
    windows = [np.flatnonzero((step > a) & (step < b) & np.isfinite(values))
               for a, b in ((-0.5, 4.5), (4.5, 9.5))]  # fmt: skip
    means = [values[rows].mean() for rows in windows]
    sizes = [np.unique(prompt[rows]).size for rows in windows]
    for one in range(25):
        off = [
            (values[rows][prompt[rows] == one] - mean).sum()
            / rows.size
            * (size / (size - 1)) ** 0.5
            for rows, mean, size in zip(windows, means, sizes, strict=True)
        ]
        expected += np.outer(off, off)
    assert points.value == pytest.approx(means)
    assert points.covariance == pytest.approx(expected)
    assert (points.freedom, points.prompts, points.n) == (min(sizes) - 1, 25, n - 1)
    assert Rollouts(step, prompt % 19, {"gold": values}).points("gold", edges) is None  # too few
    assert Rollouts(step, prompt, {"gold": values}).points("proxy", edges) is None


def test_a_step_has_an_interval_by_prompt(tmp_path: Path) -> None:
    result = from_logs([trl_run(tmp_path / "grpo")])
    assert result.steps is not None
    frame = completions(0)
    row = result.steps.query("reward == 'gold' and step == 5").iloc[0]
    by_prompt = frame[frame["step"] == 5].groupby(frame["prompt"].map(str))["gold"].mean()
    reach = student.ppf(0.975, PROMPTS - 1) * by_prompt.std(ddof=1) / PROMPTS**0.5
    assert row["mean"] == pytest.approx(by_prompt.mean())
    assert (row["low"], row["high"]) == pytest.approx(
        (by_prompt.mean() - reach, by_prompt.mean() + reach), rel=1e-6
    )
    assert (row["prompts"], row["completions"]) == (PROMPTS, PROMPTS * EACH)
    assert set(result.steps["reward"]) == {"gold", "proxy", "filler", "tidy"}
    names = {path.name for path in result.save(tmp_path / "out", ("neurips",))}
    assert {"steps.csv", "gain-components-neurips.pdf"} <= names


@pytest.mark.parametrize("logged", [True, False])
def test_components_come_from_the_log_or_from_the_completions(tmp_path: Path, logged: bool) -> None:
    result = from_logs([trl_run(tmp_path / "grpo", components_logged=logged)])
    first, second = result.studies[0].movers
    assert first.name == "filler"
    assert 11 <= first.first_step <= 15
    assert (second.name, np.isnan(second.first_step)) == ("tidy", True)
    assert first.change.method.startswith("by prompt")
    assert first.change.value == pytest.approx(0.2 * 29.5, abs=0.2)


def test_rollouts_of_verl_have_components(tmp_path: Path) -> None:
    (tmp_path / "rollouts").mkdir()
    frame = completions(1)
    metrics = []
    for step, part in frame.groupby("step"):
        score = part["filler"] + part["tidy"]
        logged = {"actor/kl_loss": 0.01 * step, "response_length/mean": 20.0}
        logged["critic/score/mean"] = score.mean()
        metrics.append({"step": step, "data": logged})
        lines = [
            {"input": str(row.prompt), "output": "c", "gts": None, "score": s, "step": step,
             "filler": row.filler, "tidy": row.tidy, "gold": row.gold}
            for row, s in zip(part.itertuples(), score, strict=True)
        ]  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / "rollouts" / f"{step}.jsonl").write_text(text)
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics))
    run = read_log(tmp_path).run
    assert run.rollouts is not None
    assert set(run.rollouts.values) == {"gold", "proxy", "filler", "tidy"}
    expected = frame.groupby("step")["filler"].mean().tolist()
    assert run.components["filler"].tolist() == pytest.approx(expected)


def test_a_column_that_is_not_what_was_logged_lends_it_no_error(tmp_path: Path) -> None:
    folder = trl_run(tmp_path / "grpo")
    state = json.loads((folder / "trainer_state.json").read_text())
    for record in state["log_history"]:
        record["rewards/tidy/mean"] += 0.3  # of all batches between two logs, say
    (folder / "trainer_state.json").write_text(json.dumps(state))
    run = read_log(folder).run
    assert run.rollouts is not None
    assert "tidy" not in run.rollouts.values
    assert run.components["tidy"].mean() == pytest.approx(0.3, abs=0.1)


def test_intervals_by_prompt_hold_the_truth_of_prompts_like_these() -> None:
    """Prompts gain at different rates: an error over steps does not see that, one by prompt does.

    Over 200 runs, 95% intervals of the gain from the first to the middle window miss the truth in
    4 to 17 of them with probability above 0.99 (binomial).
    """
    edges = np.array([0.5, 4.5, 36.5, 40.5])
    missed = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 9])
        step = np.repeat(np.arange(1.0, 41.0), PROMPTS)
        prompt = np.tile(np.arange(PROMPTS), 40)
        slope = 1 + 0.8 * rng.standard_normal(PROMPTS)
        gold = prompt + slope[prompt] * step / 40 + 0.1 * rng.standard_normal(step.size)
        points = Rollouts(step, prompt, {"gold": gold}).points("gold", edges)
        assert points is not None
        gain = points.value[1] - points.value[0]
        reach = points.quantile(0.975) * points.error(np.array([-1.0, 1.0, 0.0]))
        missed += abs(gain - (20.5 - 2.5) / 40) > reach
    assert 4 <= missed <= 17
