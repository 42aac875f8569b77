"""The keys of the trainers that rmaudit knows.

Each entry was checked by reading the files that `source` names, at that version. The keys of a gold
reward are no trainer's own: a reward server or an environment adds them.
"""

from __future__ import annotations

from rmaudit.overoptimization.logs.trainers import Kl, Trainer, register

register(
    "rmaudit",
    Trainer(
        title="rmaudit",
        source="rmaudit train policy, RunWatch, rmaudit serve",
        kl=(Kl("rmaudit/kl", "sequence"), Kl("kl_k1", "sequence"), Kl("kl_k3", "sequence")),
        proxy=("rmaudit/proxy", "proxy"),
        gold=("rmaudit/gold", "gold"),
        components=(r"rmaudit/component/(.+)",),
        spreads=(("rmaudit/proxy", "rmaudit/proxy_sd"), ("rmaudit/gold", "rmaudit/gold_sd")),
        signature=("rmaudit/", "kl_k1"),
    ),
)
register(
    "trl",
    Trainer(
        title="TRL (GRPO, RLOO, PPO)",
        source="huggingface/trl 1.16: trl/trainer/grpo_trainer.py, rloo_trainer.py; "
        "be8a0874: trl/trainer/ppo_trainer.py",
        # completion_length is what GRPO wrote before completions/mean_length.
        kl=(Kl("objective/kl", "sequence"), Kl("kl", "token")),
        proxy=("objective/scores", "reward"),
        length=(("completions/mean_length",), ("completion_length",)),
        components=(r"rewards/(.+)/mean", r"rewards/([^/]+)"),
        spreads=(("/mean", "/std"), ("reward", "reward_std")),
        signature=("completions/", "completion_length", "objective/", "rewards/"),
    ),
)
register(
    "openrlhf",
    Trainer(
        title="OpenRLHF",
        source="OpenRLHF/OpenRLHF 3c3be623: openrlhf/trainer/ppo_utils/experience_maker.py, "
        "experience.py, openrlhf/trainer/ray/ppo_actor.py",
        kl=(Kl("kl", "token"),),
        proxy=("reward",),
        gold=("gold_reward",),
        length=(("response_length",),),
        signature=("response_length", "total_length"),
    ),
)
register(
    "verl",
    Trainer(
        title="verl",
        source="volcengine/verl b178a3cd: verl/trainer/ppo/metric_utils.py, ray_trainer.py, "
        "core_algos.py, verl/workers/actor/dp_actor.py",
        # actor/ppo_kl is the step between two updates, not the way from the initial policy.
        # actor/kl_loss is per token unless loss_agg_mode is seq-mean-token-sum; critic/kl is old.
        kl=(
            Kl("actor/reward_kl_penalty", "token"),
            Kl("actor/kl_loss", "token"),
            Kl("critic/kl", "token"),
        ),
        proxy=("critic/score/mean", "critic/rewards/mean"),
        length=(("response_length/mean",),),
        signature=("actor/", "critic/", "val-core/"),
    ),
)
register(
    "nemo-rl",
    Trainer(
        title="NeMo-RL",
        source="NVIDIA-NeMo/RL 7ea279ab: nemo_rl/algorithms/loss/loss_functions.py, grpo.py, "
        "nemo_rl/experience/rollouts.py",
        kl=(Kl("kl_penalty", "token"),),
        proxy=("reward",),
        length=(("mean_gen_tokens_per_sample",), ("gen_tokens_per_sample/mean",)),
        signature=("mean_gen_tokens_per_sample", "token_mult_prob_error", "kl_penalty"),
    ),
)
register(
    "tinker",
    Trainer(
        title="Tinker cookbook",
        source="thinking-machines-lab/tinker-cookbook 9dfcc3a2: tinker_cookbook/rl/metrics.py, "
        "metric_util.py",
        # optim/kl_sample_train_* compares the sampler with the trainer: another quantity.
        kl=(Kl("kl_policy_base", "token"),),
        proxy=("env/all/reward/total",),
        gold=("env/all/gold",),
        length=(("env/all/ac_tokens_per_turn", "env/all/turns_per_episode"),),
        components=(r"env/all/reward/(?!total$)(.+)",),
        signature=("env/all/", "kl_policy_base", "progress/batch"),
    ),
)
register(
    "trlx",
    Trainer(
        title="trlX",
        source="CarperAI/trlx 3340c2f: trlx/trainer/accelerate_ppo_trainer.py, "
        "accelerate_base_trainer.py",
        # exp_scores/ is what older versions wrote.
        # policy/kl_per_token is the root of a mean over tokens, padding included: of no use here.
        kl=(Kl("policy/sqrt_kl", "sqrt sequence"),),
        proxy=("reward/mean", "rollout_scores/mean", "exp_scores/mean"),
        spreads=(("/mean", "/std"),),
        signature=("policy/sqrt_kl", "rollout_scores/", "exp_scores/"),
    ),
)
