r"""A reward function for verl that asks `rmaudit serve`.

    rmaudit serve --model org/reward-model --per-step 512 &
    python -m verl.trainer.main_ppo \
        custom_reward_function.path=$(python -m rmaudit.integrations.verl) \
        custom_reward_function.name=compute_score ...

The server's address is in ``RMAUDIT_REWARD_URL`` (http://127.0.0.1:5000/get_reward). verl hands the
prompt over only where the data set keeps it in ``extra_info``, as ``prompt`` or ``question``.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DEFAULT = "http://127.0.0.1:5000/get_reward"


def compute_score(
    data_source: str | None = None,
    solution_str: str = "",
    ground_truth: Any = None,
    extra_info: Mapping[str, Any] | None = None,
    **_: Any,
) -> dict[str, float]:
    """Reward of one response; what else the server knows of it stands beside ``score``."""
    return compute_scores([data_source], [solution_str], [ground_truth], [extra_info])[0]


def compute_scores(
    data_sources: Sequence[Any] | None = None,
    solution_strs: Sequence[str] = (),
    ground_truths: Sequence[Any] | None = None,
    extra_infos: Sequence[Mapping[str, Any] | None] | None = None,
    **_: Any,
) -> list[dict[str, float]]:
    """Rewards of a batch, for verl's batch reward manager."""
    prompts = [_prompt(info) for info in extra_infos or [None] * len(solution_strs)]
    queries = [prompt + text for prompt, text in zip(prompts, solution_strs, strict=True)]
    request: dict[str, Any] = {"query": queries, "prompts": prompts}
    if any(truth is not None for truth in ground_truths or ()):
        request["labels"] = list(ground_truths or ())
    answer = _asked(request)
    extra = answer.get("extra_logs", {})
    return [
        {"score": float(reward), **{name: float(values[i]) for name, values in extra.items()}}
        for i, reward in enumerate(answer["rewards"])
    ]


def _prompt(info: Mapping[str, Any] | None) -> str:
    found = next((info[k] for k in ("prompt", "question") if k in info), "") if info else ""
    if isinstance(found, str):
        return found
    return "\n".join(str(turn["content"]) for turn in found)


def _asked(request: dict[str, Any]) -> dict[str, Any]:
    url = os.environ.get("RMAUDIT_REWARD_URL", DEFAULT)
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"RMAUDIT_REWARD_URL is {url!r}: an http address is wanted")
    body = json.dumps(request).encode()
    message = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(message, timeout=600) as reply:  # nosec B310: checked above
        answer: dict[str, Any] = json.load(reply)
    return answer


if __name__ == "__main__":  # verl wants a path
    print(Path(__file__).resolve())  # noqa: T201
