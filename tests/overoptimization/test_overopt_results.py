"""`rmaudit overopt` from samples and from logs: numbers, files, and bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.data import load
from rmaudit.errors import DataError, UsageError
from rmaudit.overoptimization import from_logs, from_samples
from rmaudit.rewards import load_reward_model
from rmaudit.stats.best_of_n import best_of_n_mean

COLUMNS = """method n beta step kl proxy proxy_low proxy_high gold gold_low gold_high ess
run"""


def samples(path: Path, seed: int = 0, prompts: int = 40, k: int = 8) -> Path:
    """Two models' published scores of the same outputs, and a gold column of another name."""
    rng = np.random.default_rng(seed)
    with path.open("w") as out:
        for i in range(prompts):
            gold = rng.normal(size=k)
            scores = {
                name: (gold + s * rng.normal(size=k)).tolist() for name, s in (("a", 0.3), ("b", 2))
            }
            row = {"prompt": f"p{i}", "truth": gold.tolist(), "scores": scores}
            out.write(json.dumps(row) + "\n")
    return path


def models(*names: str) -> list[Any]:
    return [load_reward_model(f"recorded:{name}") for name in names]


def test_each_model_has_the_curve_of_its_own_scores(tmp_path: Path) -> None:
    data = load(samples(tmp_path / "s.jsonl"), "samples")
    result = from_samples(
        data, models("a", "b"), gold="truth", with_aggregates=True, resamples=200, cache=False
    )
    curve = result.curve
    assert list(curve.columns) == COLUMNS.split()
    assert list(dict.fromkeys(curve["run"])) == ["a", "b", "mean", "wco", "uwo"]
    gold = np.array(data.frame["truth"].tolist())
    for name in ("a", "b"):
        proxy = np.array([s[name] for s in data.frame["scores"]])
        row = curve[(curve["run"] == name) & (curve["method"] == "bon") & (curve["n"] == 4)].iloc[0]
        assert row["gold"] == pytest.approx(best_of_n_mean(gold, proxy, 4).mean())
        assert row["proxy"] == pytest.approx(best_of_n_mean(proxy, proxy, 4).mean())
    tilted = curve[curve["method"] == "tilted"]
    assert tilted["n"].isna().all()
    assert (tilted["ess"] <= 8).all()
    # Eight samples never give ten effective ones: the tilt is undefined, and said so.
    assert any("too few samples per prompt" in note for note in result.notes)
    gains = result.fits[result.fits["method"] == "bon"].drop_duplicates("run").set_index("run")
    assert gains.loc["a", "gain_at_peak"] > gains.loc["b", "gain_at_peak"]


def test_files_of_a_run(tmp_path: Path) -> None:
    path = samples(tmp_path / "s.jsonl")
    arguments = [
        "overopt", "--samples", str(path), "-m", "recorded:a", "--gold-column", "truth",
        "--method", "bon", "--n", "1,2,8", "--out", str(tmp_path / "out"), "--no-cache",
        "--venue", "neurips", "--venue", "acl", "--resamples", "100",
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    names = {p.name for p in (tmp_path / "out").iterdir()}
    figures = {f"gain-bon-{v}.{e}" for v in ("neurips", "acl") for e in ("pdf", "svg", "png")}
    tables = {"curve.csv", "fits.csv", "gains.csv", "marks.csv", "figures.py"}
    assert names == figures | tables
    written = pd.read_csv(tmp_path / "out" / "curve.csv")
    assert list(written.columns) == COLUMNS.split()
    assert written["n"].tolist() == [1, 2, 8]
    pdf = (tmp_path / "out" / "gain-bon-neurips.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Type3" not in pdf
    svg = (tmp_path / "out" / "gain-bon-acl.svg").read_text()
    assert "<text" not in svg  # outlines: no font is needed
    width = float(re.search(r'width="([\d.]+)pt"', svg)[1])  # type: ignore[index]
    assert width == pytest.approx(3.03 * 72, abs=0.5)


def test_seeds_are_one_curve_with_a_band_over_them(tmp_path: Path) -> None:
    """Three pools of one policy: the gain is the mean over them, its interval Student's with 2."""
    data = [load(samples(tmp_path / f"seed{k}.jsonl", seed=k), "samples") for k in range(3)]
    settings: dict[str, Any] = {"gold": "truth", "resamples": 100, "cache": False}
    result = from_samples(data, models("a", "b"), pooled=True, **settings)
    best = [one for one in result.studies if one.curve.method == "bon"]
    assert [one.run for one in best] == ["a", "b"]
    gains, sds = [], []
    for one in data:
        gold = np.array(one.frame["truth"].tolist())
        proxy = np.array([s["a"] for s in one.frame["scores"]])
        gains.append((best_of_n_mean(gold, proxy, 4) - gold.mean(axis=1)).mean())
        sds.append(((gold - gold.mean(axis=1, keepdims=True)) ** 2).sum() / (40 * 7))
    gain = best[0].curve.gains("gold")[best[0].curve.strength.tolist().index(4)]
    sd = np.mean(sds) ** 0.5
    assert gain.value == pytest.approx(np.mean(gains) / sd)
    assert (gain.n_clusters, gain.df) == (3, pytest.approx(2, abs=0.1))
    off = np.array(gains) / sd - np.mean(gains) / sd * (np.array(sds) / sd**2 - 1) / 2
    reach = student.ppf(0.975, 2) * off.std(ddof=1) / 3**0.5
    assert gain.high - gain.value == pytest.approx(reach, rel=0.1)
    assert "a, best of n: intervals over 3 pools" in result.notes
    apart = from_samples(data, models("a"), **settings)
    assert [s.run for s in apart.studies if s.curve.method == "bon"] == [
        "a, seed0", "a, seed1", "a, seed2",
    ]  # fmt: skip


def test_models_of_several_seeds_are_one_curve_and_the_command_draws_its_band(
    tmp_path: Path,
) -> None:
    path = samples(tmp_path / "s.jsonl")
    arguments = ["overopt", "--samples", str(path), "--gold-column", "truth", "--pooled"]
    arguments += ["--method", "bon", "--no-cache", "--resamples", "100", "--venue", "neurips"]
    two = ["-m", "recorded:a", "-m", "recorded:b"]
    out = tmp_path / "out"
    done = CliRunner().invoke(app, [*arguments, *two, "--aggregates", "--out", str(out)])
    assert done.exit_code == 0, done.output
    gains = pd.read_csv(out / "gains.csv").query("reward == 'gold'")
    assert list(dict.fromkeys(gains["run"])) == ["pooled models", "mean", "wco", "uwo"]
    band = gains[gains["run"] == "pooled models"]
    assert (band["low"] <= band["gain"]).all()
    assert (band["high"] > band["gain"]).sum() >= len(band) - 1
    alone = CliRunner().invoke(app, [*arguments, *two[:2], "--out", str(out)])
    assert alone.exit_code == 2
    assert "an interval over seeds needs two or more" in " ".join(alone.stderr.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--n", "1,64"], "n = 64 is not from 1 to 8"),
        (["--n", "two"], "n must be a valid integer"),
        (["--beta", "0"], "beta must be positive"),
        (["--method", "ppo"], "method must be 'bon' or 'tilted', not 'ppo'"),
        (["--gold-column", "nothing"], "no column 'nothing'"),
        (["--venue", "nips"], "did you mean neurips"),
        (["--log", "x.jsonl"], "or one of --samples, --log, --world"),
    ],
)
def test_bad_usage_is_one_clear_line(tmp_path: Path, options: list[str], words: str) -> None:
    path = samples(tmp_path / "s.jsonl")
    base = ["overopt", "--samples", str(path), "-m", "recorded:a", "--gold-column", "truth"]
    base += ["--resamples", "100", "--no-cache", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*base, *options])
    assert done.exit_code == 2
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_bad_samples(tmp_path: Path) -> None:
    one = load(samples(tmp_path / "one.jsonl", k=1), "samples")
    with pytest.raises(DataError, match="40 prompts: one sample has both rewards"):
        from_samples(one, models("a"), gold="truth", cache=False)
    rows = [
        {"prompt": f"p{i}", "proxy_rewards": [1.0] * 4, "gold_rewards": [1, 2, 3, 4]}
        for i in range(9)
    ]
    constant = tmp_path / "constant.jsonl"
    constant.write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(DataError, match="proxy reward is the same"):
        from_samples(load(constant, "samples"), [load_reward_model("recorded")], cache=False)
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({**r, "truth": "good"}) + "\n" for r in rows))
    with pytest.raises(DataError, match="'truth' must hold a list of numbers"):
        from_samples(load(text, "samples"), models(), gold="truth", cache=False)
    with pytest.raises(UsageError, match="beta must be positive"):
        from_samples(one, models("a"), gold="truth", betas=[-1.0], cache=False)


def test_prompts_without_gold_are_counted_and_lost_lines_named(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"p{i}", "proxy_rewards": [3.0, i % 5, 2.0, 4.0], "gold_rewards": [1, 2, 3, 4]}
        for i in range(12)
    ]
    rows[0]["gold_rewards"] = None
    rows[1]["gold_rewards"] = [1, None, 3, 4]
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"prompt": "p12", "proxy_rew')
    options = [
        "--method",
        "bon",
        "--resamples",
        "100",
        "--no-cache",
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(app, ["overopt", "--samples", str(path), *options])
    assert done.exit_code == 0, done.output
    assert "1 of 13 rows set aside: not JSON (1); rmaudit validate lists them" in done.stderr
    assert "1 prompts set aside, no sample has both rewards" in done.stderr
    assert "1 prompts set aside, fewer samples with both rewards than the pool of 4" in done.stderr


def test_gold_by_a_held_out_model_is_called_a_lower_bound(tmp_path: Path) -> None:
    data = load(samples(tmp_path / "s.jsonl"), "samples")
    result = from_samples(
        data, models("b"), gold=models("a")[0], held_out=True, methods=("bon",), resamples=100,
        cache=False,
    )  # fmt: skip
    assert "a lower bound on the true gap" in result.notes[-1]
    result = from_samples(
        data, models("b"), gold="truth", held_out=True, methods=("bon",), resamples=100,
        cache=False,
    )  # fmt: skip
    assert result.notes[-1].startswith("gold reward: the column truth, trained on disjoint")


def log(path: Path, seed: int, steps: int = 60) -> Path:
    rng = np.random.default_rng(seed)
    d = np.linspace(0.1, 3, steps)
    gold = d * (0.6 - 0.4 * np.log(d)) + 0.05 * rng.normal(size=steps)
    rows = [
        {"step": i, "kl_k1": x * x, "proxy": x, "gold": g}
        for i, (x, g) in enumerate(zip(d.tolist(), gold.tolist(), strict=True))
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_logs_overlaid_and_pooled(tmp_path: Path) -> None:
    paths = [log(tmp_path / f"seed{i}.jsonl", i) for i in range(5)]
    apart = from_logs(paths[:2], resamples=100)
    assert [one.run for one in apart.studies] == ["seed0", "seed1"]
    assert any("runs with another seed may differ" in note for note in apart.notes)
    together = from_logs(paths, pooled=True, resamples=300)
    fit = together.studies[0].found.fit("rl")
    assert fit.alpha.n_clusters == 5
    assert fit.alpha.value == pytest.approx(0.6, abs=0.05)
    assert fit.beta.value == pytest.approx(0.4, abs=0.05)
    assert not any("another seed" in note for note in together.notes)
    with pytest.raises(DataError, match="1 gold value in a run: 2 are needed"):
        from_logs([log(tmp_path / "short.jsonl", 0, steps=1)])


def test_log_on_the_command_line(tmp_path: Path) -> None:
    path = log(tmp_path / "run.jsonl", 1)
    path.write_text(path.read_text() + '{"step": 99, "kl')
    arguments = ["overopt", "--log", str(path), "--out", str(tmp_path / "o"), "--resamples", "100"]
    done = CliRunner().invoke(app, [*arguments, "--venue", "icml"])
    assert done.exit_code == 0, done.output
    assert "the last line is cut off" in done.stderr.replace("\n", " ")
    written = pd.read_csv(tmp_path / "o" / "curve.csv")
    assert set(written["method"]) == {"rl"}
    assert written["step"].notna().all()


def test_real_reward_models_on_math(shared_data: Path) -> None:
    """RewardMATH: nine published reward models, ten solutions of which one is correct."""
    data = load(shared_data / "rewardmath" / "rm_scores_10way.jsonl.gz", "samples")
    result = from_samples(
        data, models("internlm2", "oasst-rm"), gold="gold", methods=("bon",), resamples=200,
        cache=False,
    )  # fmt: skip
    good, bad = (one.found for one in result.studies)
    assert good.safe_strength.value == 10
    assert (bad.safe_strength.value, bad.loss_after_peak.low > 0) == (1, True)
    # Best of ten is the share of problems whose correct solution ranks first, ties shared.
    share = np.mean([s["internlm2"][0] == max(s["internlm2"]) for s in data.frame["scores"]])
    assert result.curve.query("run == 'internlm2' and n == 10")["gold"].item() == pytest.approx(
        share, abs=0.01
    )
