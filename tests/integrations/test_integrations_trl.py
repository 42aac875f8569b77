"""TRL's own trainers with the callbacks, on models with random weights."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from rmaudit.integrations.monitor import Alarm, RunMonitor
from rmaudit.overoptimization.logs import read_log

with warnings.catch_warnings():  # of TRL's, on being imported
    warnings.simplefilter("ignore")
    trl = pytest.importorskip("trl", reason="TRL is optional: pip install trl")
datasets = pytest.importorskip("datasets")

from rmaudit.integrations.trl import (  # noqa: E402
    AuditCallback,
    GoldEvaluation,
    RunWatch,
    reward_functions,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "rewards"))
import tiny_models  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's and transformers' own
TOKENS = 12


def letters(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """What is optimised: the share of letters and digits."""
    return [10 * sum(map(str.isalnum, c)) / max(len(c), 1) for c in completions]


def spaces(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """What is meant: the opposite."""
    return [-value for value in letters(prompts, completions)]


def rloo(folder: Path, watch: RunWatch, rewards: list[Callable[..., Any]], steps: int = 4) -> Any:
    torch.manual_seed(0)
    base = folder / "base"  # a folder: TRL loads the reference from it too
    config = tiny_models.config("gpt2")
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    transformers.GPT2LMHeadModel(config).save_pretrained(base)
    arguments = trl.RLOOConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=TOKENS,
        learning_rate=5e-3,
        beta=0.05,
        logging_steps=1,
        reward_weights=[1.0] + [0.0] * (len(rewards) - 1),
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        bf16=False,
    )
    trainer = trl.RLOOTrainer(
        model=str(base),
        reward_funcs=rewards,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict({"prompt": [f"say {i}" for i in range(8)]}),
        processing_class=tiny_models.tokenizer(),
        callbacks=[watch],
    )
    trainer.train()
    return trainer


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small gain nothing from a second thread, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_rloo_logs_what_overopt_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []  # log-probabilities of tokens, from inside the trainer
    original = trl.RLOOTrainer._get_per_token_logps_and_entropies

    def recorded(self: Any, *given: Any, **named: Any) -> Any:
        out = original(self, *given, **named)
        kept.append(out[0].detach())
        return out

    monkeypatch.setattr(trl.RLOOTrainer, "_get_per_token_logps_and_entropies", recorded)
    watch = RunWatch(RunMonitor(generations=4))
    trainer = rloo(tmp_path, watch, [watch.proxy(letters), watch.gold(spaces)], steps=3)
    trainer.state.save_to_json(str(tmp_path / "trainer_state.json"))
    history = [r for r in trainer.state.log_history if "rmaudit/kl" in r]
    assert len(history) == 3
    # A step asks for the policy's log-probabilities, the reference's, and again while it learns.
    per_step = len(kept) // 3
    for step, record in enumerate(history):
        # TRL's own means of the same rewards.
        assert record["rmaudit/proxy"] == pytest.approx(record["rewards/proxy/mean"], abs=1e-5)
        assert record["rmaudit/gold"] == pytest.approx(-record["rmaudit/proxy"], abs=1e-5)
        # Nats a sequence: the sum of the log-ratios of its tokens, not their mean.
        old, reference = kept[per_step * step], kept[per_step * step + 1]
        if record["completions/min_length"] == TOKENS:  # nothing was padded
            exact = float((old - reference).sum(dim=1).mean())
            assert record["rmaudit/kl"] == pytest.approx(exact, abs=1e-4)
    assert any(r["completions/min_length"] == TOKENS for r in history[1:])
    assert history[0]["rmaudit/kl"] == pytest.approx(0, abs=1e-4)
    assert abs(history[-1]["rmaudit/kl"]) > 1e-3
    log = read_log(tmp_path)
    assert log.keys["kl"] == "rmaudit/kl"
    assert log.run.gold.tolist() == pytest.approx([r["rmaudit/gold"] for r in history])
    assert [note.split(":")[0] for note in log.notes] == ["SD of the gold", "SD of the proxy"]


def word_pays(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """The planted fault: an "e" pays, whatever it stands in."""
    return [10 * c.count("e") / max(len(c), 1) for c in completions]


def short(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """Pays nothing that a response of a fixed number of tokens could change."""
    return [0.0 for _ in completions]


def no_word(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """What is meant: the planted word is filler."""
    return [-value for value in word_pays(prompts, completions)]


def grpo(
    folder: Path, watch: RunWatch, functions: list[Any], weights: list[float], steps: int = 90
) -> Any:
    torch.manual_seed(0)
    config = tiny_models.config("gpt2")
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    transformers.GPT2LMHeadModel(config).save_pretrained(folder / "base")
    trainer = trl.GRPOTrainer(
        model=str(folder / "base"),
        reward_funcs=functions,
        args=trl.GRPOConfig(
            output_dir=str(folder),
            max_steps=steps,
            per_device_train_batch_size=16,
            num_generations=8,
            max_completion_length=6,
            learning_rate=3e-3,
            beta=0.0,
            logging_steps=1,
            reward_weights=weights,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            disable_tqdm=True,
            bf16=False,
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": [f"say {i}" for i in range(8)]}),
        processing_class=tiny_models.tokenizer(),
        callbacks=[watch],
    )
    trainer.train()
    return trainer


def test_a_grpo_run_with_a_word_that_pays_rings_and_a_sound_one_does_not(tmp_path: Path) -> None:
    watch = RunWatch(stop=True)
    parts = {"word": word_pays, "short": short}
    functions, weights = reward_functions(parts, gold=no_word, watch=watch)
    assert weights == [1.0, 1.0, 0.0]
    trainer = grpo(tmp_path / "hacked", watch, functions, weights)
    assert [(a.name, a.component) for a in watch.alarms] == [("gold", "word")]
    assert trainer.state.global_step == watch.alarms[0].step < 90
    last = next(r for r in reversed(trainer.state.log_history) if "rewards/word/mean" in r)
    assert last["rmaudit/proxy"] == pytest.approx(last["rewards/word/mean"], abs=1e-5)
    assert last["rmaudit/component/word"] == pytest.approx(last["rewards/word/mean"], abs=1e-5)

    sound = RunWatch(stop=True)
    functions, weights = reward_functions(no_word, gold=no_word, watch=sound)
    assert grpo(tmp_path / "sound", sound, functions, weights, 60).state.global_step == 60
    assert sound.alarms == []


def test_gold_on_a_fixed_set_of_prompts_at_checkpoints(tmp_path: Path) -> None:
    evaluation = GoldEvaluation(spaces, [f"say {i}" for i in range(6)], every=2, tokens=4)
    watch = RunWatch(evaluation=evaluation)
    trainer = rloo(tmp_path, watch, [watch.proxy(letters)], steps=4)
    seen = [r["step"] for r in trainer.state.log_history if "rmaudit/gold" in r]
    assert seen == [2, 4]
    assert "gold" in watch.monitor.evidence


def test_an_alarm_stops_the_run(tmp_path: Path) -> None:
    class Nervous(RunMonitor):
        def update(self, step: int, **samples: Any) -> Any:
            assert samples["proxy"].shape == (8,)
            assert samples["components"] == {}
            if step < 2:
                return []
            self.alarms.append(Alarm("gold", step, 100.0, "fallen"))
            return self.alarms[-1:]

    watch = RunWatch(Nervous(), stop=True)
    trainer = rloo(tmp_path, watch, [watch.proxy(letters)], steps=4)
    assert trainer.state.global_step == 2
    assert {alarm.step for alarm in watch.alarms} == {2}


def test_reward_models_of_rmaudit_as_reward_functions() -> None:
    from rmaudit.rewards.ensemble import Ensemble
    from rmaudit.rewards.functions.function import given_function

    def member(scale: float) -> Any:
        return given_function(lambda pairs: [scale * len(o) for _, o in pairs])

    watch = RunWatch(RunMonitor(window=1), outside=lambda texts: np.ones(len(texts)))
    reward = watch.model(Ensemble([member(1.0), member(3.0)]))
    chat = [[{"role": "assistant", "content": "abc"}], [{"role": "assistant", "content": ""}]]
    assert reward(prompts=["p", "q"], completions=chat) == [6.0, 0.0]
    assert reward.__name__ == "proxy"
    assert watch.recorder._step["disagreement"][0].tolist() == [3.0, 0.0]
    assert watch.recorder._step["outside"][0].tolist() == [1.0, 1.0]


def test_audits_on_a_schedule_of_reward_training(tmp_path: Path) -> None:
    folder = tiny_models.save(tmp_path / "base", "llama")
    rows = [
        {"prompt": f"question {i} ", "chosen": "yes indeed", "rejected": "no"} for i in range(12)
    ]
    data = tmp_path / "eval.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    audits = AuditCallback(data, tmp_path / "audits", every=2, only=["preference"], resamples=100)
    trainer = trl.RewardTrainer(
        model=transformers.AutoModelForSequenceClassification.from_pretrained(folder),
        args=trl.RewardConfig(
            output_dir=str(tmp_path / "run"),
            max_steps=3,
            per_device_train_batch_size=4,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            disable_tqdm=True,
            bf16=False,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder),
        callbacks=[audits],
    )
    trainer.train()
    assert sorted(audits.reports) == [2, 3]
    assert (tmp_path / "audits" / "step-3" / "report.json").is_file()
    accuracy = audits.reports[3]["preference.accuracy"].value
    logged = [r for r in trainer.state.log_history if "rmaudit/preference.accuracy" in r]
    assert [r["step"] for r in logged] == [2, 3]
    assert logged[-1]["rmaudit/preference.accuracy"] == accuracy
